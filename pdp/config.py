"""Configuration: one TOML file, every key overridable by environment, the common ones by flag.

`PDP_SERVER__DRAIN_SECONDS=5` overrides `drain_seconds` in `[server]`. Flags win over the environment, the environment
over the file, the file over the defaults. Each component gets its own frozen section, never the whole.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from pdp.addresses import address_problem, host_of, is_local
from pdp.authzen_config import AuthZenConfig
from pdp.cedar.options import Evaluator
from pdp.decision_log_config import SECRETS, DecisionLogConfig
from pdp.errors import ConfigError
from pdp.gateway_config import AgentgatewayConfig, EnvoyConfig
from pdp.identity.caller_config import CallersConfig
from pdp.identity.config import IdentityConfig
from pdp.limits_config import LimitsConfig
from pdp.named_path import NamedPath
from pdp.secret_files import others_can_read
from pdp.telemetry_config import TelemetryConfig

#: Environment variables of this program that are not configuration keys.
_OTHER_VARIABLES = frozenset({"PDP_ADDRESS", "PDP_CALLER_KEY", "PDP_CONFIG", "PDP_STATE_DIR", "PDP_TLS_CA"})
_PREFIX = "PDP_"
#: How to give what a command cannot do without.
_HOW_TO_GIVE = {"bundle.source": "name a bundle with `--bundle PATH`"}
#: What Kubernetes puts into every container of a namespace that has a Service called `pdp` or `pdp-…`.
_SERVICE_LINK = re.compile(
    r"PDP_(?!.*__)(?:[A-Z0-9_]+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)


_Positive = Annotated[int, Field(ge=1)]
_Seconds = Annotated[float, Field(ge=0, le=86_400)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerConfig(_Section):
    """`[server]`: where and how to listen."""

    #: Take connections from other machines without TLS, or without knowing who calls. Whoever can connect can ask, and
    #: without TLS everyone on the way can read and change the answers.
    allow_insecure_network: bool = False
    #: The certificate chain of this service, PEM. Files that change are read again, and serve new connections.
    tls_certificate: NamedPath | None = None
    #: Its private key, PEM without a password, in a file that others cannot read.
    tls_key: NamedPath | None = None
    #: Certificates, PEM, one of which must have signed every client's certificate. Clients without one get no
    #: connection.
    tls_client_ca: NamedPath | None = None
    #: `host:port`, `[v6]:port` or `unix:/path`. Port 0 picks a free one.
    listen: Annotated[tuple[str, ...], Field(min_length=1)] = ("127.0.0.1:7437",)
    #: Where AdminService is served. Empty: beside DecisionService, if every address is local or callers have rights.
    admin_listen: tuple[str, ...] = ()
    #: Threads that answer calls. The work is bound to one core, so few are enough.
    threads: Annotated[int, Field(ge=1, le=256)] = 4
    #: Processes that answer, at the same addresses, each with its own copy of the bundle in memory and a core to use.
    #: A connection stays with one of them.
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    #: `auto`: where there are as many workers as cores, each keeps to one and answers more calls for its CPU time.
    #: `none`: the operating system moves them about.
    worker_affinity: Literal["auto", "none"] = "auto"
    #: A worker that shows no sign of life for this long is killed and replaced.
    stuck_seconds: Annotated[float, Field(ge=2, le=3_600)] = 15.0
    #: How long calls in flight may go on after SIGTERM.
    drain_seconds: _Seconds = 10.0
    #: How long a bundle answers calls although its source cannot be read, over restarts too; then the service serves
    #: nothing until it can. 0: for ever.
    max_snapshot_age_seconds: Annotated[float, Field(ge=0, le=31_536_000)] = 0.0
    #: Server reflection, for grpcurl and its like.
    reflection: bool = True
    #: File mode of unix sockets, in octal.
    socket_mode: Annotated[str, Field(pattern=r"^0?[0-7]{3}$")] = "660"

    @field_validator("listen", "admin_listen")
    @classmethod
    def _local_unless_allowed(cls, addresses: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        # Where that switch itself is wrong, nothing is allowed.
        everywhere = info.data.get("allow_insecure_network", False) or info.data.get("tls_certificate") is not None
        problems = [problem for address in addresses if (problem := address_problem(address, everywhere))]
        if problems:
            raise ValueError("\n".join(problems))
        return addresses

    @model_validator(mode="after")
    def _tls_is_whole(self) -> ServerConfig:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("`tls_certificate` and `tls_key` go together")
        if self.tls_client_ca is not None and self.tls_certificate is None:
            raise ValueError("`tls_client_ca` goes with `tls_certificate` and `tls_key`")
        return self

    @model_validator(mode="after")
    def _workers_can_share(self) -> ServerConfig:
        for address in (*self.listen, *self.admin_listen):
            if self.workers > 1 and address.startswith("unix:"):
                raise ValueError(f"`{address}` cannot be shared by several `workers`; listen on `127.0.0.1:PORT`")
        return self

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the service, as far as its addresses tell."""
        return all(is_local(host_of(address)) for address in (*self.listen, *self.admin_listen))


class BundleConfig(_Section):
    """`[bundle]`: what decides."""

    #: A directory, or a `.tar.gz` of one.
    source: NamedPath | None = None
    #: Load it again when its files change.
    watch: bool = True
    #: How long the files must be quiet before a reload.
    debounce_ms: Annotated[int, Field(ge=0, le=60_000)] = 50
    #: Look again after this time even if nothing was reported; 0 never.
    rescan_seconds: _Seconds = 30.0
    #: For file systems that report no changes (some network mounts).
    force_polling: bool = False
    #: A bundle that answers the same calls and is only compared: a directory, or a `.tar.gz` of one.
    candidate: NamedPath | None = None
    #: How much of a core comparing may take; calls beyond it are not compared.
    candidate_share: Annotated[float, Field(gt=0, le=1)] = 0.2
    #: Where the last good copy is kept; unset for the user's state directory, empty to keep none.
    last_good_dir: Annotated[str, Field(pattern=r"^[^\x00]*$")] | None = None
    #: Files of the bundle.
    max_files: _Positive = 20_000
    #: Size of one file.
    max_file_mib: _Positive = 512
    #: Size of all files together.
    max_total_mib: _Positive = 1_024


class AuthorizeConfig(_Section):
    """`[authorize]`: how to decide. Cache sizes count entries."""

    #: `deny`: a forbid that fails to evaluate denies. `skip`: it is passed over and reported, as Cedar does.
    on_forbid_error: Literal["deny", "skip"] = "deny"
    #: Who evaluates the policies for a tool call. `compiled`: this service, where it is certain to say what Cedar would
    #: say, otherwise Cedar. `cedar`: always Cedar. `checked`: both, and a denial where they do not agree.
    evaluator: Evaluator = "compiled"
    #: Answers kept; 0 evaluates every question.
    decision_cache: Annotated[int, Field(ge=0)] = 10_000
    #: Policies held in parsed slices, some kilobytes each.
    slice_cache: _Positive = 100_000
    #: Combinations of subject, tool and server whose policies and entities are at hand.
    shape_cache: _Positive = 32_768


class InterceptorsConfig(_Section):
    """`[interceptors]`: the sandbox. What one interceptor may use is in its binding."""

    #: Where compiled modules are kept; unset for the user's state directory, empty to compile at every start.
    cache_dir: Annotated[str, Field(pattern=r"^[^\x00]*$")] | None = None
    #: How long one module may take to compile.
    compile_seconds: Annotated[float, Field(gt=0, le=3_600)] = 60.0
    #: Memory of the process that compiles a module.
    compile_memory_mib: Annotated[int, Field(ge=256)] = 2_048
    #: Core modules that can run, or be kept ready, at the same time.
    instances: Annotated[int, Field(ge=1, le=10_000)] = 512


class Config(_Section):
    """The whole configuration."""

    server: ServerConfig = Field(default_factory=ServerConfig)
    bundle: BundleConfig = Field(default_factory=BundleConfig)
    authorize: AuthorizeConfig = Field(default_factory=AuthorizeConfig)
    interceptors: InterceptorsConfig = Field(default_factory=InterceptorsConfig)
    callers: CallersConfig = Field(default_factory=CallersConfig)
    identity: IdentityConfig = Field(default_factory=IdentityConfig)
    envoy: EnvoyConfig = Field(default_factory=EnvoyConfig)
    agentgateway: AgentgatewayConfig = Field(default_factory=AgentgatewayConfig)
    authzen: AuthZenConfig = Field(default_factory=AuthZenConfig)
    decision_log: DecisionLogConfig = Field(default_factory=DecisionLogConfig)
    limits: LimitsConfig = Field(default_factory=LimitsConfig)
    telemetry: TelemetryConfig = Field(default_factory=TelemetryConfig)

    @model_validator(mode="after")
    def _callers_can_be_known(self) -> Config:
        problems = []
        authzen = self.authzen.listen
        everywhere = self.server.allow_insecure_network or self.server.tls_certificate is not None
        if authzen and (problem := address_problem(authzen, everywhere)):
            problems.append(f"`authzen.listen`: {problem}")
            authzen = ""
        if self.server.tls_client_ca is None and any(caller.certificates for caller in self.callers.caller):
            problems.append("`callers.caller` has `certificates`, which nobody checks without `server.tls_client_ca`")
        known = self.callers.caller or self.server.tls_client_ca is not None
        local = self.server.is_local and (not authzen or is_local(host_of(authzen)))
        if not (known or local or self.server.allow_insecure_network):
            problems.append(
                "other machines can reach the service, and nobody has to say who they are; give `[[callers.caller]]` "
                "or `server.tls_client_ca`, or set `server.allow_insecure_network = true`"
            )
        if problems:
            raise ValueError("\n".join(problems))
        return self

    @model_validator(mode="after")
    def _snapshots_are_confirmed(self) -> Config:
        most, bundle = self.server.max_snapshot_age_seconds, self.bundle
        if most and not (bundle.watch and 0 < bundle.rescan_seconds < most):
            raise ValueError(
                "`server.max_snapshot_age_seconds` needs `bundle.watch` and a `bundle.rescan_seconds` that is shorter: "
                "nothing else tells that the source can be read"
            )
        return self


def load_config(
    path: Path | None,
    environ: Mapping[str, str],
    flags: Mapping[str, Any] | None = None,
    *,
    required: Sequence[str] = (),
) -> Config:
    """The effective configuration. `flags` is nested like the file, `required` names keys that must be given.

    Raises ConfigError with every mistake.
    """
    problems: list[str] = []
    document: dict[str, Any] = {}
    try:
        document = _read_file(path) if path is not None else {}
    except ConfigError as error:
        problems += error.problems
        required = ()  # nobody knows what an unreadable file would have given
    merged = _merged(_merged(document, _from_environment(environ, problems)), flags or {})
    problems += [f"`{key}` is missing; {_HOW_TO_GIVE[key]}" for key in required if _lacks(merged, key)]
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        problems += [problem for detail in error.errors() for problem in _problems(detail)]
        raise ConfigError(problems) from error
    if problems:
        raise ConfigError(problems)
    return config


def _read_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            document, others = tomllib.loads(file.read().decode()), others_can_read(os.fstat(file.fileno()))
        if others:
            _require_no_secrets(path, document)
        if _has_huge_number(document):
            raise ValueError("A number in it has more than 64 bits")
        return document
    except OSError as error:
        raise ConfigError([f"`{path}` cannot be read: {(error.strerror or str(error)).lower()}"]) from error
    except (ValueError, RecursionError) as error:
        message = str(error)
        raise ConfigError([f"`{path}` is not valid TOML: {message[:1].lower()}{message[1:]}"]) from error


def _require_no_secrets(path: Path, document: dict[str, Any]) -> None:
    """Raise ConfigError where a file that others can read holds a secret."""
    section = document.get("decision_log")
    found = [key for key in SECRETS if section.get(key)] if isinstance(section, dict) else []
    if found:
        names = " and ".join(f"`decision_log.{key}`" for key in found)
        raise ConfigError([f"`{path}` holds a secret that others can read, {names}; `chmod 600` it"])


def _has_huge_number(value: Any) -> bool:
    """Whether a number in there has more bits than TOML's; one of thousands of digits could not even be shown."""
    if isinstance(value, dict):
        return any(map(_has_huge_number, value.values()))
    if isinstance(value, list):
        return any(map(_has_huge_number, value))
    return isinstance(value, int) and not -(2**63) <= value < 2**63


def _from_environment(environ: Mapping[str, str], problems: list[str]) -> dict[str, Any]:
    """Keys from `PDP_SECTION__KEY`; values are plain, and lists may also be in TOML's notation."""
    found: dict[str, Any] = {}
    for variable, text in environ.items():
        if not variable.startswith(_PREFIX) or variable in _OTHER_VARIABLES or _SERVICE_LINK.fullmatch(variable):
            continue
        section, separator, key = variable.removeprefix(_PREFIX).lower().partition("__")
        field = Config.model_fields.get(section)
        names: dict[str, Any] = getattr(field.annotation, "model_fields", {}) if field else {}
        if not separator or key not in names:
            problems.append(f"`{variable}` is not a configuration key; write `PDP_SECTION__KEY`")
            continue
        is_list = get_origin(names[key].annotation) is tuple
        found.setdefault(section, {})[key] = _list(text) if is_list else text
    return found


def _list(text: str) -> Any:
    """A list in TOML's notation; anything else, `[::1]:7437` too, is its only item."""
    try:
        return tomllib.loads(f"list = {text}")["list"]
    except (ValueError, RecursionError):
        return [text]


def _lacks(document: Mapping[str, Any], key: str) -> bool:
    section, _, name = key.partition(".")
    values = document.get(section)
    return values is None or (isinstance(values, Mapping) and values.get(name) is None)


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(under)
    for key, value in over.items():
        below = result.get(key, {})
        if not isinstance(value, Mapping):
            result[key] = value
        elif isinstance(below, Mapping):
            result[key] = _merged(below, value)
        # Anything else in the place of a section stays, so that it is reported.
    return result


#: Mistakes in values that are no secrets, so they may be shown.
_SHOWN = frozenset({"bool_parsing", "float_parsing", "int_parsing", "literal_error"})


def _problems(detail: ErrorDetails) -> list[str]:
    """What pydantic found at one place, in this project's manner; a validator of ours may have found several things."""
    path = ".".join(str(part) for part in detail["loc"] if part != "[key]")
    if detail["type"] == "extra_forbidden":
        return [f"`{path}` is not a configuration key"]
    text = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "literal_error":
        text = text.replace("'", "`")
    place = f"`{path}` is `{detail['input']}`: " if detail["type"] in _SHOWN else f"`{path}`: " if path else ""
    return [f"{place}{line[:1].lower()}{line[1:]}" for line in text.splitlines()]
