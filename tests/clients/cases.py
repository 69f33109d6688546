"""Reading `clients/conformance/cases/*.json`, strictly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.clients.messages import METHODS

CASES = Path(__file__).resolve().parents[2] / "clients" / "conformance" / "cases"

Json = Mapping[str, Any]

_SERVERS = {
    "service": {"kind", "listen", "tls", "keys"},
    "scripted": {"kind", "listen", "tls", "keys", "answers"},
    "nobody": {"kind"},
}
_VALUES = {"listen": ("tcp", "unix"), "tls": ("server", "mutual"), "keys": (True,)}
_ANSWERS = (
    {"response", "more_base64"},
    {"response_base64"},
    {"status", "message", "reason", "field"},
    {"never"},
)
# Each step by the member that says what it is: what it must have beside that, and what it may have.
_STEPS: dict[str, tuple[set[str], set[str]]] = {
    "open": (set(), {"server", "target", "options", "refused"}),
    "call": ({"method", "request", "expect"}, {"deadline_ms", "patience_ms"}),
    "close": (set(), set()),
    "stop": (set(), set()),
    "start": (set(), set()),
    "received": ({"method"}, {"attempts", "request", "deadline_ms"}),
}
_OPTIONS = {"deadline_ms", "max_receive_bytes", "bearer", "tls"}
_TLS = {"ca", "certificate", "key", "server_name"}
_EXPECTATIONS = ({"response", "allowed", "denial"}, {"error"}, {"refused"})
_ERROR = {"code", "message", "reason", "field"}


class CaseError(Exception):
    """A case is not written as its README says."""


@dataclass(frozen=True)
class Case:
    """One case; `group` is the name of its file."""

    group: str
    name: str
    servers: Mapping[str, Json]
    steps: tuple[Json, ...]

    def __str__(self) -> str:
        return f"{self.group}: {self.name}"


def read_cases(directory: Path = CASES) -> list[Case]:
    """All cases. Raises CaseError, which names the file and what is wrong in it."""
    found = [case for path in sorted(directory.glob("*.json")) for case in _read_file(path)]
    names = [str(case) for case in found]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise CaseError(f"the same name twice: {sorted(repeated)}")
    return found


def _read_file(path: Path) -> list[Case]:
    try:
        written = json.loads(path.read_text("utf-8"), object_pairs_hook=_once)
        if not isinstance(written, list) or not all(isinstance(fields, dict) for fields in written):
            raise CaseError("is not a list of cases")
        return [read_case(path.stem, fields) for fields in written]
    except (CaseError, ValueError) as error:
        raise CaseError(f"`{path.name}`: {error}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise CaseError(f"a member twice among `{', '.join(name for name, _ in pairs)}`")
    return found


def read_case(group: str, fields: Json) -> Case:
    """A case from its JSON. Raises CaseError."""
    where = f"the case `{fields.get('name', '?')}`"
    _check_members(where, fields, {"name", "servers", "steps"}, set())
    for name, server in fields["servers"].items():
        _check_server(f"{where}, the server `{name}`", server)
    for number, step in enumerate(fields["steps"], start=1):
        _check_step(f"{where}, step {number}", step, fields["servers"].keys())
    _check_names(where, fields["steps"])
    return Case(group, fields["name"], fields["servers"], tuple(fields["steps"]))


def _check_members(where: str, fields: Json, needed: set[str], more: set[str]) -> None:
    if missing := needed - fields.keys():
        raise CaseError(f"{where}: lacks `{', '.join(sorted(missing))}`")
    if unknown := fields.keys() - needed - more:
        raise CaseError(f"{where}: knows no `{', '.join(sorted(unknown))}`")


def _check_server(where: str, fields: Json) -> None:
    if fields.get("kind") not in _SERVERS:
        raise CaseError(f"{where}: its kind is one of `{', '.join(_SERVERS)}`")
    _check_members(where, fields, {"kind"}, _SERVERS[fields["kind"]])
    for name, values in _VALUES.items():
        if name in fields and fields[name] not in values:
            raise CaseError(f"{where}: `{name}` is one of {values}")
    for method, answers in fields.get("answers", {}).items():
        if method not in METHODS or not answers:
            raise CaseError(f"{where}: `{method}` is no method with answers")
        for answer in answers:
            _check_one_of(f"{where}, an answer", answer, _ANSWERS)


def _check_one_of(where: str, fields: Json, forms: tuple[set[str], ...]) -> None:
    if not fields or not any(fields.keys() <= form for form in forms):
        raise CaseError(f"{where}: `{', '.join(fields)}` do not go together, or are not known")


def _check_step(where: str, step: Json, servers: Any) -> None:
    kinds = [kind for kind in _STEPS if kind in step]
    if len(kinds) != 1:
        raise CaseError(f"{where}: is none of `{', '.join(_STEPS)}`, or several")
    [kind] = kinds
    needed, more = _STEPS[kind]
    _check_members(where, step, needed | {kind}, more)
    server = step.get("server") if kind == "open" else None if kind in ("call", "close") else step[kind]
    if server is not None and server not in servers:
        raise CaseError(f"{where}: there is no server `{server}`")
    if "method" in step and step["method"] not in METHODS:
        raise CaseError(f"{where}: there is no method `{step['method']}`")
    if kind == "open":
        _check_open(where, step)
    if kind == "call":
        _check_expectation(where, step)


def _check_names(where: str, steps: list[Json]) -> None:
    opened: set[str] = set()
    for number, step in enumerate(steps, start=1):
        name = step.get("open") or step.get("call") or step.get("close")
        if name is not None and ("open" in step) == (name in opened):
            raise CaseError(f"{where}, step {number}: the client `{name}` is {'' if name in opened else 'not '}open")
        if "open" in step and not step.get("refused"):
            opened.add(step["open"])
        if "close" in step:
            opened.remove(step["close"])


def _check_open(where: str, step: Json) -> None:
    if ("server" in step) == ("target" in step):
        raise CaseError(f"{where}: either `server` or `target`")
    options = step.get("options", {})
    _check_members(f"{where}, its options", options, set(), _OPTIONS)
    _check_members(f"{where}, its TLS", options.get("tls", {}), set(), _TLS)


def _check_expectation(where: str, step: Json) -> None:
    expect = step["expect"]
    _check_one_of(f"{where}, what is expected", expect, _EXPECTATIONS)
    if "error" in expect:
        _check_members(f"{where}, the expected error", expect["error"], {"code"}, _ERROR)
    elif "refused" not in expect and "response" not in expect:
        raise CaseError(f"{where}: what is expected lacks `response`")
