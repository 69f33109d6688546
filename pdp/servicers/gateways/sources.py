"""Who asks for what, found in what a gateway sends beside the message. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

from pdp._gen.pdp.v1 import decision_pb2
from pdp.servicers.gateways.refusals import RefusedError

_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +")


class Places(Protocol):
    """Where a gateway's configuration says that things are."""

    @property
    def subject_from(self) -> str: ...
    @property
    def subject_type(self) -> str: ...
    @property
    def token_from(self) -> str: ...
    @property
    def session_from(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What a gateway says about one request. Header names are in lower case; a header may stand there several times."""

    headers: Sequence[tuple[str, str]] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    route: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str | None:
        """The value of a header. Raises RefusedError where there are several: each reader could take another one."""
        values = [value for key, value in self.headers if key == name]
        if len(values) > 1:
            raise RefusedError(f"the header `{name}` is given twice", "invalid")
        return values[0] if values else None


def object_of(metadata: Struct) -> dict[str, Any]:
    """Metadata as a JSON object. Raises RefusedError where it holds what JSON has no form for, such as infinity."""
    try:
        return json_format.MessageToDict(metadata)
    except (ValueError, json_format.Error) as error:
        raise RefusedError("the metadata holds a value that is not JSON", "invalid") from error


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks, of which server, in which session."""

    subject: decision_pb2.Subject
    server: str
    session_id: str = ""


def value_at(source: str, facts: Facts) -> Any:
    """What is at a place, whatever it is; None where there is nothing."""
    kind, _, name = source.partition(":")
    if kind == "fixed":
        return name
    if kind == "header":
        return facts.header(name.lower())
    if kind == "route":
        return facts.route.get(name)
    value: Any = facts.metadata
    for key in name.split("/"):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def text_at(source: str, facts: Facts, what: str) -> str:
    """The text at a place. Raises RefusedError where there is none: nobody is never somebody."""
    value = value_at(source, facts)
    if not isinstance(value, str) or not value:
        raise RefusedError(f"{what} is not known")
    return value


def subject_in(places: Places, facts: Facts) -> decision_pb2.Subject:
    """Who asks. Raises RefusedError."""
    if places.token_from:
        token = text_at(places.token_from, facts, "the agent's token")
        return decision_pb2.Subject(token=_BEARER.sub("", token, count=1) if _BEARER.match(token) else token)
    name = text_at(places.subject_from, facts, "the agent")
    return decision_pb2.Subject(entity=decision_pb2.EntityUid(type=places.subject_type, id=name))


def session_in(places: Places, facts: Facts) -> str:
    """The id of the session; empty where there is none."""
    value = value_at(places.session_from, facts) if places.session_from else None
    return value if isinstance(value, str) else ""
