"""`[callers]`: which gateways and runtimes may ask this service, and what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Right = Literal["decide", "admin", "reflect"]


def _tables(value: Any) -> Any:
    if isinstance(value, list | tuple) and all(isinstance(item, dict | BaseModel) for item in value):
        return value
    raise ValueError("is a list of tables; write `[[callers.caller]]` above each")


def _digest(text: str) -> str:
    if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        # A key in clear that was put here by mistake must not come out in a message.
        raise ValueError(
            "is not a SHA-256 digest in lower-case hexadecimal; `pdp caller-key` makes a key with its digest"
        )
    return text


_Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[!-~]+$")]
_Digest = Annotated[str, AfterValidator(_digest)]


class _Section(BaseModel):
    # What is wrong may be a secret, so values are not repeated.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class CallerConfig(_Section):
    """One caller: how it is known, and what it may do."""

    #: What the decision log calls it.
    name: _Name
    #: `decide`: DecisionService. `admin`: AdminService. `reflect`: server reflection.
    rights: Annotated[tuple[Right, ...], Field(min_length=1)] = ("decide",)
    #: SHA-256 digests, in hexadecimal, of the keys that it may send as `authorization: Bearer KEY`. Two while one is
    #: replaced by the other.
    keys_sha256: tuple[_Digest, ...] = ()
    #: Subject alternative names of its client certificates: a URI (`spiffe://…`) or a DNS name, exactly. Needs
    #: `server.tls_client_ca`.
    certificates: tuple[_Name, ...] = ()
    #: The only MCP servers whose tool calls and tool lists it may ask about; empty for all, and for questions that are
    #: not about tools.
    servers: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    #: How many questions it may ask in a second, on average; each of a batch counts. 0 for no limit.
    calls_per_second: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    #: How many it may ask at once after a pause; 0 for what it may ask in a second.
    burst: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _is_known_somehow(self) -> CallerConfig:
        if not (self.keys_sha256 or self.certificates):
            raise ValueError("give `keys_sha256` or `certificates`; a caller that nobody can prove to be is of no use")
        if self.burst and not self.calls_per_second:
            raise ValueError("`burst` goes with `calls_per_second`")
        return self


class CallersConfig(_Section):
    """`[callers]`: who may call. Without a caller, everyone who can connect may."""

    #: The callers, each in a table of its own.
    caller: Annotated[tuple[CallerConfig, ...], BeforeValidator(_tables)] = ()

    @model_validator(mode="after")
    def _are_distinct(self) -> CallersConfig:
        problems = [*self._twice("name"), *self._shared()]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _twice(self, key: str) -> Iterator[str]:
        counts = Counter(getattr(caller, key) for caller in self.caller)
        yield from (f"{key} `{value}` is given twice" for value, count in counts.items() if count > 1)

    def _shared(self) -> Iterator[str]:
        keys = Counter(digest for caller in self.caller for digest in set(caller.keys_sha256))
        names = Counter(name for caller in self.caller for name in set(caller.certificates))
        if any(count > 1 for count in keys.values()):
            yield "a key belongs to several callers; each needs one of its own"
        yield from (f"certificate `{name}` belongs to several callers" for name, count in names.items() if count > 1)
