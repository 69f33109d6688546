"""One HTTP request of MCP's streamable transport and its response, as a proxy shows it: heads, and bodies in parts.

Every method either says what goes on, or raises RefusedError; then nothing does. Until a message was understood and
asked about, none of it has gone on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import structlog

from pdp.call import Call
from pdp.servicers.gateways import mcp_messages as mcp
from pdp.servicers.gateways.asker import Allowed, Asker, guarded
from pdp.servicers.gateways.mcp_http import (
    EVENTS,
    JSON,
    Event,
    EventReader,
    is_plain,
    media_type,
    require_mirrored,
    written,
)
from pdp.servicers.gateways.mcp_messages import MESSAGE_LIMITS, Message, MessageError
from pdp.servicers.gateways.refusals import RefusedError, refused_message
from pdp.servicers.gateways.sources import Facts, Places, Who, session_in, subject_in, text_at

_log = structlog.get_logger("pdp.gateways")

_MAX_BYTES: Final = MESSAGE_LIMITS.max_bytes
_FIRST_ERROR_STATUS = 400
_METHOD_NOT_ALLOWED = 405
_UNSUPPORTED_MEDIA_TYPE = 415
_BAD_GATEWAY = 502


class Rules(Places, Protocol):
    """What of the configuration counts here."""

    @property
    def server_from(self) -> str: ...
    @property
    def pass_methods(self) -> tuple[str, ...]: ...
    @property
    def listen_streams(self) -> bool: ...


class Exchange:
    """`asked` is the message in the request's body, once it is read; without its content, which is large."""

    def __init__(self, asker: Asker, rules: Rules, gateway: Call) -> None:
        self._asker = asker
        self._rules = rules
        self._gateway = gateway
        self._facts = Facts()
        self._method = ""
        self._who: Who | None = None
        self._call: Allowed | None = None
        self._take: Callable[[bytes, bool], bytes] | None = None
        self._collected = bytearray()
        self._events = EventReader(_MAX_BYTES)
        self._answered = False
        self._has_complained = False
        self.asked: Message | None = None

    def request_head(self, facts: Facts, method: str, ended: bool) -> None:
        """The request's method and headers; `ended` if there is no body."""
        if self._method:
            raise RefusedError("a request has one head", "invalid")
        self._facts, self._method = facts, method
        if method == "POST":
            if media_type(facts.header("content-type")) != JSON or not is_plain(facts.header("content-encoding")):
                raise RefusedError(f"a message is sent as `{JSON}`", "invalid", _UNSUPPORTED_MEDIA_TYPE)
            if ended:
                raise RefusedError("there is no message", "invalid")
        elif not (method == "DELETE" or (method == "GET" and self._rules.listen_streams)):
            raise RefusedError("this is not offered here", "denied", _METHOD_NOT_ALLOWED)
        elif not ended:
            raise RefusedError("only a POST has a body", "invalid")

    def request_body(self, body: bytes, whole: bool) -> bytes | None:
        """The request's body, which is one message; gives the one to send in its place, or None for the same."""
        if self._method != "POST" or self.asked is not None:
            raise RefusedError("only a POST has a body, and only one", "invalid")
        # 1. A part of a message is another message.
        declared = self._facts.header("content-length")
        if not whole or (declared is not None and declared != str(len(body))):
            raise RefusedError("the message did not come as a whole", "invalid")
        # 2. One message that reads in one way, also where its headers repeat it.
        asked = mcp.read_message(body)
        self.asked = asked.without_content()
        require_mirrored(asked, self._facts.header("mcp-method"), self._facts.header("mcp-name"))
        # 3. What nobody knows goes no further.
        if asked.is_request and asked.method == "tools/call":
            return self._decided(asked)
        if asked.is_request and asked.method == "tools/list":
            self._who = self._identified()
        elif not mcp.passes(asked, self._rules.pass_methods):
            raise RefusedError("this method is not allowed here" if asked.method else "this answer is not allowed here")
        return None

    def _identified(self) -> Who:
        server = text_at(self._rules.server_from, self._facts, "the server")
        return Who(subject_in(self._rules, self._facts), server, session_in(self._rules, self._facts))

    def _decided(self, asked: Message) -> bytes | None:
        params = mcp.part(asked, "params")
        call = mcp.read_call(params or b"{}")
        self._who = self._identified()
        self._call = self._asker.decide(self._who, call.name, call.arguments_json, self._gateway)
        if not self._call.mutated:
            return None
        # These arguments were authorized, so the server gets them and no others.
        return mcp.with_part(asked, "params", mcp.with_arguments(params, self._call.arguments_json))

    def response_head(self, status: int, facts: Facts, ended: bool) -> None:
        """The response's status and headers; `ended` if there is no body."""
        if self._take is not None:
            raise RefusedError("a response has one head", "internal")
        if self._method in ("", "POST") and self.asked is None:
            # The request has gone nowhere yet, so this is the proxy's own answer to it: a refusal, or a mistake.
            if status < _FIRST_ERROR_STATUS:
                raise RefusedError("the request was not seen", "internal")
            self._take = _nothing
            return
        if not is_plain(facts.header("content-encoding")):
            raise RefusedError("the server's answer is compressed, so nobody can look at it", "internal", _BAD_GATEWAY)
        kind = media_type(facts.header("content-type"))
        wanted = self._method == "GET" or (self.asked is not None and self.asked.is_request)
        if kind == EVENTS and wanted:
            self._take = self._take_events
        elif kind == JSON and wanted and self._method == "POST":
            self._take = self._take_json
        elif ended or not wanted or status >= _FIRST_ERROR_STATUS:
            # The status says what there is to say; nobody waits for a message.
            self._take = _nothing
        else:
            raise RefusedError("the server's answer is nothing that can be looked at", "internal", _BAD_GATEWAY)

    def response_part(self, data: bytes, ended: bool) -> bytes:
        """A part of the response's body; gives what to pass on in its place. `ended` with the last one."""
        if self._take is None:
            raise RefusedError("the response's head was not seen", "internal")
        return self._take(data, ended)

    def _take_json(self, data: bytes, ended: bool) -> bytes:
        if len(self._collected) <= _MAX_BYTES:
            self._collected += data
        return self._told(lambda: self._checked(mcp.read_message(bytes(self._collected)))) if ended else b""

    def _take_events(self, data: bytes, _ended: bool) -> bytes:
        try:
            events = self._events.feed(data)
        except MessageError as error:
            cause = error
            self._take = _nothing
            return written(Event(b""), self._answer(lambda: _raise(cause))) if self._waits else b""
        return b"".join(map(self._passed_on, events))

    @property
    def _waits(self) -> bool:
        return self.asked is not None and self.asked.is_request and not self._answered

    def _passed_on(self, event: Event) -> bytes:
        """What goes on of one event."""
        if not event.data or not event.is_message:
            return written(Event(None, event.kept), None)
        try:
            message = mcp.read_message(event.data)
        except MessageError as error:
            cause = error
            self._complain("an event of the server is no message", cause=str(error))
            # It may have been the answer, for which nobody should wait in vain.
            return written(event, self._answer(lambda: _raise(cause)) if self._waits else None)
        if message.method is None:
            return written(event, self._answer_in_event(message))
        if mcp.passes(message, self._rules.pass_methods):
            return written(event, event.data)
        self._complain("the server asks for what is not passed on", method=message.method[:200])
        return written(Event(None, event.kept), None)

    def _complain(self, what: str, **details: str) -> None:
        """Tell of it in the log, once: a server must not be able to fill a disk."""
        if not self._has_complained:
            self._has_complained = True
            _log.warning(what, **details)

    def _answer_in_event(self, message: Message) -> bytes:
        if self.asked is None or not self._waits or message.id != self.asked.id:
            # Whose answer it is, and so what may be in it, is not known.
            return mcp.error_answer(message.id, -32603, "the server answered what was not asked here")
        return self._answer(lambda: self._checked(message))

    def _answer(self, check: Callable[[], bytes]) -> bytes:
        self._answered = True
        return self._told(check)

    def _told(self, check: Callable[[], bytes]) -> bytes:
        """What `check` gives, or the answer that tells the agent why not."""
        assert self.asked is not None, "only requests are answered"
        try:
            return guarded("response", check)
        except RefusedError as refusal:
            return refused_message(refusal, self.asked)

    def _checked(self, message: Message) -> bytes:
        """The server's answer as the agent gets it."""
        asked = self.asked
        assert asked is not None, "only requests are answered"
        if message.method is not None or message.id != asked.id:
            raise RefusedError("the server answered something else", "internal")
        if asked.method == "tools/call":
            return self._result(message)
        if asked.method == "tools/list" and "result" in message.value:
            return self._filtered(message)
        return message.text.encode()

    def _result(self, message: Message) -> bytes:
        assert self._who is not None
        assert self._call is not None, "a call that nobody allowed was not made"
        if "error" in message.value:
            # What the server has to say against the call is read by the agent like a result, so it is checked like one.
            result = mcp.error_result(mcp.error_text(message))
            final = self._asker.intercepted(self._who, self._call, result, True, self._gateway)
            return mcp.answer(message.id, mcp.completed(final))
        result = mcp.part(message, "result")
        is_error = mcp.read_result(result)
        final = self._asker.intercepted(self._who, self._call, result, is_error, self._gateway)
        mcp.read_result(final)
        return mcp.with_part(message, "result", final if final == result else mcp.completed(final))

    def _filtered(self, message: Message) -> bytes:
        assert self._who is not None, "whoever asks for a list is identified"
        listed = mcp.read_tools(mcp.part(message, "result"))
        tools = [(name, listed.definition_json(name)) for name in listed.tools]
        kept = self._asker.visible(self._who, tools, self._gateway)
        return mcp.with_part(message, "result", mcp.with_tools(listed, kept))


def _nothing(_data: bytes, _ended: bool) -> bytes:
    return b""


def _raise(error: Exception) -> bytes:
    raise error
