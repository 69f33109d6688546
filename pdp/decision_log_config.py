"""`[decision_log]`: what of each decision is written down, and where it goes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from pdp.named_path import NamedPath
from pdp.text_lists import each, is_line

#: Keys whose values are secrets.
SECRETS = ("otlp_headers", "nats_password", "nats_token")

_Positive = Annotated[int, Field(ge=1)]
#: The name of a header in gRPC.
_HeaderName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]*$", max_length=256)]
_Lines = Annotated[tuple[str, ...], each(is_line, "is no text of one line")]


def _one_line(secret: SecretStr) -> SecretStr:
    if not secret.get_secret_value().isprintable():
        raise ValueError("it is no text of one line")
    return secret


_Secret = Annotated[SecretStr, AfterValidator(_one_line)]


class DecisionLogConfig(BaseModel):
    """`[decision_log]`: one JSON line per decision."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: Where the lines go.
    sink: Literal["stdout", "file", "otlp", "nats", "none"] = "stdout"
    #: The file that they are appended to; for the sink `file`.
    path: NamedPath | None = None
    #: The file is put aside and begun anew before it is larger than this.
    max_file_mib: _Positive = 256
    #: How many of the files that were put aside are kept; 0 keeps all.
    keep_files: Annotated[int, Field(ge=0)] = 10
    #: What of a tool call's arguments is written: their sha256, all of them, or nothing.
    arguments: Literal["hash", "full", "none"] = "hash"
    #: What of the arguments is not written where they are: JSONPath, of which names, indexes, `[*]` and `..` are known.
    mask: _Lines = ()
    #: Where lines are kept until the sink has them; unset for the user's state directory, empty to hold them in memory,
    #: which a killed process takes with it.
    spool_dir: Annotated[str, Field(pattern=r"^[^\x00]*$")] | None = None
    #: How much is kept for a slow or dead sink.
    spool_mib: Annotated[int, Field(ge=1, le=1_000_000)] = 256
    #: What becomes of a call whose line finds no room. `block`: it waits while its caller does, and then fails. `deny`:
    #: it fails at once. `drop`: it is answered and the line is lost, which is counted, and told in the log itself.
    when_full: Literal["block", "drop", "deny"] = "block"
    #: The key that signs checkpoints, Ed25519, PEM; `pdp log keygen` makes one. Unset, there are none.
    signing_key: NamedPath | None = None
    #: How often the log's chain is vouched for, while there is something new.
    checkpoint_seconds: Annotated[float, Field(gt=0, le=86_400)] = 10.0
    #: `https://host:port` of a collector that takes logs by OTLP over gRPC; `http://` without TLS.
    otlp_endpoint: Annotated[str, Field(pattern=r"^[!-~]*$")] = ""
    #: Certificates, PEM, that the collector's is checked with instead of the system's.
    otlp_ca: NamedPath | None = None
    #: What every request to it says besides, such as `authorization = "Bearer …"`.
    otlp_headers: dict[_HeaderName, SecretStr] = Field(default_factory=dict)
    #: `nats://host:port` or `tls://host:port`.
    nats_servers: _Lines = ()
    #: A subject that a JetStream stream listens to.
    nats_subject: Annotated[str, Field(pattern=r"^[!-~]*$")] = ""
    #: Certificates, PEM, that those of `tls://` servers are checked with instead of the system's.
    nats_ca: NamedPath | None = None
    #: A credentials file, as `nsc` makes them, that others cannot read.
    nats_credentials: NamedPath | None = None
    #: A file with the seed of an nkey, that others cannot read.
    nats_nkey_seed: NamedPath | None = None
    #: A user; with `nats_password`.
    nats_user: Annotated[str, Field(pattern=r"^[!-~]*$")] = ""
    #: The user's password.
    nats_password: _Secret = SecretStr("")
    #: A token, for servers that know one only.
    nats_token: _Secret = SecretStr("")
    #: Lines held in memory for a slow sink; further ones are dropped and counted. Only without a spool.
    buffer_lines: _Positive = 100_000

    @property
    def answers_without_room(self) -> bool:
        """Whether calls are answered when no record can be kept, as their operator prefers."""
        return self.sink == "none" or self.spool_dir == "" or self.when_full == "drop"

    @model_validator(mode="after")
    def _is_whole(self) -> DecisionLogConfig:
        needed = {"file": ("path",), "otlp": ("otlp_endpoint",), "nats": ("nats_servers", "nats_subject")}
        problems = [
            f"`decision_log.{key}` is needed for the sink `{self.sink}`"
            for key in needed.get(self.sink, ())
            if not getattr(self, key)
        ]
        if self.spool_dir == "" and self.sink in ("otlp", "nats"):
            problems.append(f"`decision_log.spool_dir` is empty, and the sink `{self.sink}` needs a spool")
        problems += self._nats_problems()
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _nats_problems(self) -> list[str]:
        if bool(self.nats_user) != bool(self.nats_password.get_secret_value()):
            return ["`decision_log.nats_user` and `decision_log.nats_password` go together"]
        ways = (self.nats_credentials, self.nats_nkey_seed, self.nats_user, self.nats_token.get_secret_value())
        if sum(bool(way) for way in ways) > 1:
            names = "`nats_credentials`, `nats_nkey_seed`, `nats_user` and `nats_token`"
            return [f"`decision_log`: of {names} at most one is used"]
        if any("@" in server for server in self.nats_servers):
            return ["`decision_log.nats_servers`: write credentials in `nats_user`, `nats_password` or `nats_token`"]
        return []
