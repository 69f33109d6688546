"""What a guest is told and what it answers: the JSON of the ABI (interceptors_wasm/ABI.md). Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, Final, Literal

from pdp.cedar.arguments import FactType
from pdp.cedar.json_places import after_blanks
from pdp.cedar.json_text import canonical_text
from pdp.cedar.model import EntityUid
from pdp.cedar.strict_json import JsonError, JsonLimits, kind_of, parse_value
from pdp.errors import InvalidArgumentsError
from pdp.sandbox.guest_text import bounded
from pdp.sandbox.model import ErrorClass, GuestFailureError, Phase

Verdict = Literal["pass", "transform", "deny"]

#: Payloads are data of tools and agents, bounded by their size.
PAYLOAD_LIMITS: Final = JsonLimits(max_bytes=1 << 20, max_depth=64, max_nodes=1 << 20)
#: A reply wraps its payload in one object.
_REPLY_LIMITS: Final = JsonLimits(max_bytes=1 << 20, max_depth=65, max_nodes=1 << 20)

_MAX_MESSAGE_BYTES = 1_000
#: Of a reply that cannot be read, for the operator.
_MAX_SHOWN = 60
_MAX_REASON_BYTES = 4_000
_CONFIGURED = b'{"ok":true}'
_MEMBERS = frozenset({"verdict", "message", "reason", "annotations", "arguments", "result"})
PAYLOAD_MEMBER: Final[dict[Phase, str]] = {"request": "arguments", "response": "result"}


@dataclass(frozen=True, slots=True)
class Reply:
    """A verdict. `payload` is JSON text, byte for byte the guest's, and set exactly with `transform`.

    `annotations` holds what the binding declares, in explicit Cedar JSON; `stated` the same as the guest wrote it.
    """

    verdict: Verdict
    message: str = ""
    reason: str = ""
    payload: bytes | None = None
    annotations: Mapping[str, Any] | None = None
    stated: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Envelope:
    """A tool call as guests see it, but for what changes along a chain. `context` is a JSON object."""

    subject: EntityUid
    server: str
    tool: str
    session_id: str = ""
    request_id: str = ""
    context: bytes = b"{}"
    on_behalf_of: EntityUid | None = None


def request_prefix(phase: Phase, envelope: Envelope) -> bytes:
    """The beginning of every request of a chain, up to the arguments."""
    call = envelope
    acting = f'"on_behalf_of":{_uid(call.on_behalf_of)},' if call.on_behalf_of is not None else ""
    return (
        f'{{"v":1,"phase":"{phase}","request_id":{quoted(call.request_id)},"subject":{_uid(call.subject)},{acting}'
        f'"tool_call":{{"server":{quoted(call.server)},"tool":{quoted(call.tool)},'
        f'"session_id":{quoted(call.session_id)},"arguments":'
    ).encode()


def _uid(uid: EntityUid) -> str:
    return f'{{"type":{quoted(uid.type)},"id":{quoted(uid.id)}}}'


def request_text(
    prefix: bytes,
    arguments: bytes,
    context: bytes,
    config: bytes,
    result: bytes | None,
    result_is_error: bool,
    may_transform: bool,
) -> bytes:
    """A whole request. All bytes are JSON texts that were checked; they go in as they are."""
    told = b""
    if result is not None:
        told = b',"result":' + result + b',"result_is_error":' + _FLAGS[result_is_error]
    binding = b',"config":' + config + b',"may_transform":' + _FLAGS[may_transform]
    return prefix + arguments + b"}" + told + b',"context":' + context + binding + b"}"


_FLAGS = (b"false", b"true")


def read_reply(data: bytes, phase: Phase, may_transform: bool, declared: Mapping[str, FactType]) -> Reply:
    """The verdict in a guest's answer. Raises GuestFailureError for everything that is not exactly one."""
    reply = _read_object(data)
    if "error" in reply:
        raise GuestFailureError(*_guest_error(reply))
    if unknown := sorted(reply.keys() - _MEMBERS):
        raise _bad(f"`{unknown[0]}` is no member of a reply")
    verdict = reply.get("verdict")
    if verdict not in ("pass", "transform", "deny"):
        raise _bad("`verdict` is missing" if verdict is None else "`verdict` is not `pass`, `transform` or `deny`")
    payload = _payload(data, reply, phase, verdict, may_transform)
    if "message" in reply and verdict != "deny":
        raise _bad(f"`message` goes with `deny`, not with `{verdict}`")
    annotations, stated = _facts(reply.get("annotations", {}), declared)
    return Reply(
        verdict,
        _text(reply, "message", _MAX_MESSAGE_BYTES),
        _text(reply, "reason", _MAX_REASON_BYTES),
        payload,
        annotations,
        stated,
    )


def read_configured(data: bytes) -> None:
    """Read what `pdp_configure` answered. Raises GuestFailureError unless it is `{"ok": true}`."""
    if data == _CONFIGURED:  # as most write it; every call of such a module pays for this
        return
    reply = _read_object(data)
    if "error" in reply:
        raise GuestFailureError(*_guest_error(reply))
    if reply != {"ok": True} or reply["ok"] is not True:
        raise _bad('`pdp_configure` answered neither `{"ok": true}` nor `{"error": "…"}`')


def read_description(text: str) -> frozenset[Phase]:
    """The phases in what a component's `describe` answered. Raises GuestFailureError where it is something else."""
    described = _read_object(text.encode("utf-8", "surrogatepass"))
    if type(described.get("v")) is not int:
        raise _bad("`describe` gives no version `v` of the ABI")
    if described["v"] != 1:
        raise _bad(f"it is for version {described['v']} of the ABI, not for 1")
    phases = described.get("phases")
    if type(phases) is not list or not phases or any(phase not in ("request", "response") for phase in phases):
        raise _bad("`describe` gives no `phases` out of `request` and `response`")
    return frozenset(phases)


def guest_error(text: str) -> GuestFailureError:
    """The failure that a guest itself reports."""
    return GuestFailureError(ErrorClass.GUEST_ERROR, bounded(text, _MAX_REASON_BYTES))


def stated_json(stated: Mapping[str, Any]) -> str:
    """Facts as they were stated, as JSON text."""
    return canonical_text(stated)


def _read_object(data: bytes) -> dict[str, Any]:
    try:
        value = parse_value(data, _REPLY_LIMITS)
    except JsonError as error:
        begins = bounded(data[:_MAX_SHOWN].decode("utf-8", "backslashreplace"), _MAX_SHOWN)
        raise _bad(f"the reply is not acceptable JSON: {error}; it begins with `{begins}`") from None
    if type(value) is not dict:
        raise _bad(f"the reply must be a JSON object, not {kind_of(value)}")
    return value


def _guest_error(reply: Mapping[str, Any]) -> tuple[ErrorClass, str]:
    if len(reply) != 1 or type(reply["error"]) is not str:
        raise _bad("`error` has to be text and stand alone")
    return ErrorClass.GUEST_ERROR, bounded(reply["error"], _MAX_REASON_BYTES)


def _payload(
    data: bytes, reply: Mapping[str, Any], phase: Phase, verdict: Verdict, may_transform: bool
) -> bytes | None:
    wanted = PAYLOAD_MEMBER[phase] if verdict == "transform" else None
    for member in PAYLOAD_MEMBER.values():
        if member in reply and member != wanted:
            raise _bad(f"`{member}` does not go with `{verdict}` in the phase `{phase}`")
    if wanted is None:
        return None
    if not may_transform:
        raise _bad("`transform` without the right to: the binding does not say `may_transform = true`")
    if wanted not in reply:
        raise _bad(f"`transform` without `{wanted}`")
    if phase == "request" and type(reply[wanted]) is not dict:
        raise _bad(f"`{wanted}` must be an object, not {kind_of(reply[wanted])}")
    return _member_text(data.decode(), wanted).encode()


_DECODER = json.JSONDecoder(parse_int=str, parse_float=str)


def _member_text(text: str, name: str) -> str:
    """The text of a member of an object. `text` has been read before, so it is good JSON."""
    at = after_blanks(text, 0) + 1
    while True:
        key, at = _DECODER.raw_decode(text, after_blanks(text, at))
        start = after_blanks(text, after_blanks(text, at) + 1)
        _, at = _DECODER.raw_decode(text, start)
        if key == name:
            return text[start:at]
        at = after_blanks(text, at) + 1


def _facts(found: Any, declared: Mapping[str, FactType]) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    if type(found) is not dict:
        raise _bad(f"`annotations` must be an object, not {kind_of(found)}")
    stated = {name: found[name] for name in declared if name in found}
    if not stated:
        return None, None
    return {name: _fact(name, value, declared[name]) for name, value in stated.items()}, stated


def _fact(name: str, value: Any, fact_type: FactType) -> Any:
    try:
        return fact_type.convert(value)
    except InvalidArgumentsError as error:
        raise _bad(f"the annotation `{name}` is not of its declared type: {error.message}") from None


def _text(reply: Mapping[str, Any], name: str, max_bytes: int) -> str:
    text = reply.get(name, "")
    if type(text) is not str:
        raise _bad(f"`{name}` must be text, not {kind_of(text)}")
    return bounded(text, max_bytes)


def _bad(reason: str) -> GuestFailureError:
    return GuestFailureError(ErrorClass.BAD_OUTPUT, bounded(reason, _MAX_REASON_BYTES))
