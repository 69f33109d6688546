"""The chain: which interceptors a tool call runs through, in which order, and what follows from what they say.

Requests run through it in ascending `order`, results in descending. A deny ends it, whatever `on_error` says. What an
interceptor transformed is checked again before anybody sees it. A failure denies, unless its binding says
`on_error = "allow"`: then the payload goes on as that interceptor was given it. Shadow interceptors see what the
enforcing ones left, and change nothing.
"""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from pdp.cedar.arguments import ConvertedInput, FactType
from pdp.cedar.cache import BoundedCache
from pdp.cedar.model import Denial, DenialCode
from pdp.cedar.strict_json import JsonError, parse_object
from pdp.errors import DeadlineExceededError, InvalidArgumentsError
from pdp.sandbox.counters import Counters
from pdp.sandbox.guest_text import bounded
from pdp.sandbox.model import Call, ErrorClass, GuestFailureError, Phase
from pdp.sandbox.outcome import Interception, Outcome
from pdp.sandbox.reply import PAYLOAD_LIMITS, Envelope, Reply, read_reply, request_prefix, request_text
from pdp.sandbox.sandbox import Loaded, Terms

_DENIED = "an interceptor denied the call"
_FAILED = "the call could not be checked"
_MAX_REASON_BYTES = 4_000
#: Tools whose interceptors are at hand; the names are the callers', so they may be any.
_MATCHES_KEPT = 4_096
_WEIGHT_CHARACTERS = 256

#: Checks a tool's arguments: by server and tool, those that are pinned.
InputChecks = Mapping[tuple[str, str], Callable[[bytes], ConvertedInput]]


@dataclass(frozen=True, slots=True)
class Interceptor:
    """A loaded module with its binding. `log` takes a level (0 debug to 3 error) and text of the module's."""

    name: str
    tools: tuple[str, ...]
    order: int
    shadow: bool
    allow_on_error: bool
    terms: Terms
    declared: Mapping[str, FactType]
    loaded: Loaded
    log: Callable[[int, str], None]
    max_payload_bytes: int
    max_log_bytes: int
    #: Whether the service itself put the binding into the bundle.
    pushed: bool = False
    counters: Counters = field(default_factory=Counters)

    def matches(self, phase: Phase, tool: str) -> bool:
        """Whether it runs on calls to `tool` (`server/tool`) in this phase."""
        return phase in self.terms.phases and any(fnmatch.fnmatchcase(tool, pattern) for pattern in self.tools)


@dataclass(frozen=True, slots=True)
class Payload:
    """What runs through a chain: a call's arguments, and in the phase `response` its result. JSON texts, checked."""

    arguments: bytes
    result: bytes | None = None
    result_is_error: bool = False


class ChainQuery(NamedTuple):
    """What is to run through a chain. The arguments are as the agent sent them, everything else has been checked."""

    phase: Phase
    envelope: Envelope
    payload: Payload


class Chain:
    """The interceptors of one snapshot. Immutable but for their counters, and safe to share between threads."""

    def __init__(self, interceptors: Sequence[Interceptor], checks: InputChecks) -> None:
        self._ordered = sorted(interceptors, key=lambda interceptor: (interceptor.order, interceptor.name))
        self._checks = checks
        self._matches: BoundedCache[tuple[Phase, str, str], tuple[Interceptor, ...]] = BoundedCache(_MATCHES_KEPT)

    @property
    def interceptors(self) -> tuple[Interceptor, ...]:
        """All of them, in the order in which they run on requests."""
        return tuple(self._ordered)

    def concerns(self, phase: Phase, server: str, tool: str) -> bool:
        """Whether any interceptor runs on calls to this tool in this phase."""
        return bool(self._matching(phase, server, tool))

    def run(self, phase: Phase, envelope: Envelope, payload: Payload, deadline_ns: int) -> Interception:
        """Run a payload through the chain, until a time of `time.monotonic_ns`.

        Raises DeadlineExceededError where that passes first.
        """
        matching = self._matching(phase, envelope.server, envelope.tool)
        given = payload.arguments if payload.result is None else payload.result
        current = given
        outcomes: list[Outcome] = []
        prefix = request_prefix(phase, envelope) if matching else b""
        for interceptor in matching:
            if time.monotonic_ns() >= deadline_ns:
                raise DeadlineExceededError("the deadline passed before all interceptors were asked")
            request = _request(prefix, phase, payload, current, envelope.context, interceptor.terms)
            own_end_ns = time.monotonic_ns() + interceptor.terms.limits.timeout_ms * 1_000_000
            outcome, reply = self._ask(interceptor, phase, envelope, request, deadline_ns)
            outcomes.append(outcome)
            # The clock that stops guests ticks, and may be a little early; whose time has ended is known all the same.
            if outcome.error_class is ErrorClass.DEADLINE and deadline_ns <= own_end_ns:
                raise DeadlineExceededError("the deadline passed while an interceptor was asked")
            if interceptor.shadow:
                continue
            if outcome.denies:
                return Interception(current, False, tuple(outcomes), _denial(reply))
            if reply is not None and reply.payload is not None:
                current = reply.payload
        return Interception(current, current != given, tuple(outcomes))

    def _matching(self, phase: Phase, server: str, tool: str) -> tuple[Interceptor, ...]:
        key = (phase, server, tool)
        found = self._matches.get(key)
        if found is None:
            name = f"{server}/{tool}"
            ordered = self._ordered if phase == "request" else reversed(self._ordered)
            found = tuple(interceptor for interceptor in ordered if interceptor.matches(phase, name))
            self._matches.put(key, found, 1 + len(name) // _WEIGHT_CHARACTERS)
        return found

    def _ask(
        self, interceptor: Interceptor, phase: Phase, envelope: Envelope, request: bytes, deadline_ns: int
    ) -> tuple[Outcome, Reply | None]:
        """What one interceptor says; no reply where it failed."""
        started = time.monotonic_ns()
        reply: Reply | None = None
        failure: GuestFailureError | None = None
        try:
            reply = self._reply(interceptor, phase, envelope, request, started, deadline_ns)
        except GuestFailureError as error:
            failure = error
        duration_ns = time.monotonic_ns() - started
        if failure is None and reply is not None:
            outcome = Outcome(
                interceptor.name,
                reply.verdict,
                interceptor.shadow,
                duration_ns,
                reply.verdict == "deny",
                reply.reason,
                stated=reply.stated,
                annotations=reply.annotations,
            )
        else:
            assert failure is not None
            reason = bounded(failure.reason, _MAX_REASON_BYTES)
            outcome = Outcome(
                interceptor.name,
                "failed",
                interceptor.shadow,
                duration_ns,
                not interceptor.allow_on_error,
                reason,
                failure.error_class,
            )
        if interceptor.counters.add(outcome):
            interceptor.log(3, "keeps failing, and is unhealthy until it succeeds again")
        return outcome, reply

    def _reply(
        self,
        interceptor: Interceptor,
        phase: Phase,
        envelope: Envelope,
        request: bytes,
        started_ns: int,
        deadline_ns: int,
    ) -> Reply:
        most = interceptor.max_payload_bytes
        if len(request) > most:
            raise GuestFailureError(ErrorClass.TOO_LARGE, f"the request has {len(request)} bytes; it may have {most}")
        until = min(deadline_ns, started_ns + interceptor.terms.limits.timeout_ms * 1_000_000)
        call = Call(until, interceptor.log, interceptor.max_log_bytes)
        answer = interceptor.loaded.runner.run(phase, request, call)
        reply = read_reply(answer, phase, interceptor.terms.may_transform, interceptor.declared)
        if phase == "request" and reply.payload is not None:
            self._require_fit(envelope, reply.payload)
        return reply

    def _require_fit(self, envelope: Envelope, arguments: bytes) -> None:
        """Raise GuestFailureError unless new arguments fit the tool's pinned input schema, where there is one."""
        check = self._checks.get((envelope.server, envelope.tool))
        if check is None:
            return
        try:
            check(arguments)
        except InvalidArgumentsError as error:
            raise GuestFailureError(ErrorClass.BAD_OUTPUT, f"the new arguments do not fit the tool: {error}") from None


def intercept(chain: Chain, query: ChainQuery, deadline_ns: int) -> Interception:
    """Run a payload through a chain. Arguments that are no JSON object are a denial; no bytes at all are no arguments.

    Raises DeadlineExceededError where a time of `time.monotonic_ns` passes first.
    """
    payload = query.payload
    try:
        if payload.arguments:
            parse_object(payload.arguments, PAYLOAD_LIMITS)
        else:
            payload = replace(payload, arguments=b"{}")
    except JsonError as error:
        refusal = InvalidArgumentsError(error.path, error.message)
        return Interception(b"", False, (), Denial(DenialCode.INVALID_ARGUMENTS, str(refusal)))
    return chain.run(query.phase, query.envelope, payload, deadline_ns)


def _request(prefix: bytes, phase: Phase, payload: Payload, current: bytes, context: bytes, terms: Terms) -> bytes:
    if phase == "request":
        arguments, result, is_error = current, None, False
    else:
        arguments, result, is_error = payload.arguments, current, payload.result_is_error
    return request_text(prefix, arguments, context, terms.config, result, is_error, terms.may_transform)


def _denial(reply: Reply | None) -> Denial:
    if reply is None:
        return Denial(DenialCode.INTERCEPTOR_FAILED, _FAILED)
    return Denial(DenialCode.INTERCEPTOR_DENIED, reply.message or _DENIED)
