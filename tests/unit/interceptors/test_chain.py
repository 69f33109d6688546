"""The chain, around interceptors that are fakes in memory."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from pdp.cedar.arguments import ConvertedInput, parse_type
from pdp.cedar.model import DenialCode, EntityUid
from pdp.errors import DeadlineExceededError, InvalidArgumentsError
from pdp.sandbox.chain import Chain, ChainQuery, Interceptor, Payload, intercept
from pdp.sandbox.counters import UNHEALTHY_AFTER
from pdp.sandbox.model import Call, CallLimits, ErrorClass, GuestFailureError, ModuleFacts, Phase
from pdp.sandbox.outcome import Interception
from pdp.sandbox.reply import Envelope
from pdp.sandbox.sandbox import Loaded, Terms

FACTS = ModuleFacts("core", "0" * 64, 1, (), ())
ENVELOPE = Envelope(EntityUid("Agent", "a"), "srv", "read", "s-1", "r-1", b'{"k":1}')
Answer = Callable[[dict[str, Any]], object]


@dataclass
class FakeRunner:
    """Answers with what a function makes of the request, as JSON unless it is bytes; notes what it was asked."""

    answer: Answer
    asked: list[dict[str, Any]] = field(default_factory=list)
    phases: frozenset[Phase] = frozenset({"request", "response"})

    def run(self, phase: Phase, request: bytes, call: Call) -> bytes:
        """What the function makes of the request."""
        document = json.loads(request)
        assert document["phase"] == phase
        self.asked.append(document)
        answer = self.answer(document)
        return answer if isinstance(answer, bytes) else json.dumps(answer).encode()


def fake(name: str, answer: Answer | dict[str, Any], **more: Any) -> Interceptor:
    """An interceptor around a fake; `more` are its other fields, and those of its terms."""
    fixed = answer
    runner = FakeRunner(answer if callable(answer) else lambda request: fixed)
    limits = CallLimits(more.pop("timeout_ms", 1_000))
    terms = Terms(
        more.pop("phases", ("request", "response")),
        limits,
        may_transform=more.pop("may_transform", True),
        config=more.pop("config", b"{}"),
    )
    fields: dict[str, Any] = {
        "name": name,
        "tools": ("*/*",),
        "order": 100,
        "shadow": False,
        "allow_on_error": False,
        "terms": terms,
        "declared": {},
        "loaded": Loaded(FACTS, runner),
        "log": lambda level, text: None,
        "max_payload_bytes": 10_000,
        "max_log_bytes": 100,
        **more,
    }
    return Interceptor(**fields)


def asked(interceptor: Interceptor) -> list[dict[str, Any]]:
    """What a fake was asked."""
    runner = interceptor.loaded.runner
    assert isinstance(runner, FakeRunner)
    return runner.asked


def run(
    *interceptors: Interceptor,
    phase: Phase = "request",
    arguments: bytes = b"{}",
    result: bytes | None = None,
    seconds: float = 10,
    **checks: Callable[[bytes], ConvertedInput],
) -> Interception:
    """A payload through these interceptors; `checks` are by tool of the server `srv`."""
    chain = Chain(interceptors, {("srv", tool): check for tool, check in checks.items()})
    query = ChainQuery(phase, ENVELOPE, Payload(arguments, result))
    return intercept(chain, query, time.monotonic_ns() + int(seconds * 1e9))


def fails(error_class: ErrorClass) -> Answer:
    """An answer that is a failure."""

    def answer(request: dict[str, Any]) -> object:
        raise GuestFailureError(error_class, "because")

    return answer


def set_arguments(**arguments: Any) -> dict[str, Any]:
    """A reply that gives new arguments."""
    return {"verdict": "transform", "arguments": arguments}


PASS = {"verdict": "pass"}
DENY = {"verdict": "deny", "message": "no", "reason": "because"}


# --- order and matching ----------------------------------------------------------------------------------------------


def test_requests_go_up_and_results_go_down() -> None:
    """Requests run through the chain in ascending order, results in descending, equal orders by name."""
    chain = [fake("b", PASS, order=2), fake("a", PASS, order=2), fake("z", PASS, order=-1), fake("m", PASS, order=3)]
    up = [outcome.name for outcome in run(*chain).outcomes]
    down = [outcome.name for outcome in run(*chain, phase="response", result=b"1").outcomes]
    assert up == ["z", "a", "b", "m"]
    assert down == ["m", "b", "a", "z"]


@pytest.mark.parametrize(
    ("patterns", "runs"),
    [
        (("*/*",), True),
        (("*",), True),
        (("srv/*",), True),
        (("srv/re??",), True),
        (("srv/[!w]*",), True),
        (("other/*", "*/read"), True),
        (("srv/write",), False),
        (("srv",), False),
        (("SRV/read",), False),
        (("srv/rea",), False),
    ],
)
def test_globs_choose_the_tools(patterns: tuple[str, ...], runs: bool) -> None:
    """An interceptor runs exactly on the tools that one of its globs matches, by case."""
    assert bool(run(fake("a", PASS, tools=patterns)).outcomes) is runs


def test_a_phase_that_is_not_bound_is_left_alone() -> None:
    """An interceptor runs only in the phases of its binding."""
    only = fake("a", DENY, phases=("response",))
    assert run(only).outcomes == ()
    assert run(only, phase="response", result=b"1").denial is not None


def test_no_interceptor_lets_everything_go() -> None:
    """Without a matching interceptor the payload goes on byte for byte."""
    answer = run(arguments=b'{ "a" : 1.50 }')
    assert (answer.denial, answer.payload, answer.mutated) == (None, b'{ "a" : 1.50 }', False)


# --- what they are told ----------------------------------------------------------------------------------------------


def test_a_request_tells_who_and_what() -> None:
    """An interceptor is told everything that the ABI names, and its own configuration."""
    guest = fake("a", PASS, config=b'{"x":1}')
    run(guest, arguments=b'{"n":12345678901234567890}')
    assert asked(guest) == [
        {
            "v": 1,
            "phase": "request",
            "request_id": "r-1",
            "subject": {"type": "Agent", "id": "a"},
            "tool_call": {
                "server": "srv",
                "tool": "read",
                "session_id": "s-1",
                "arguments": {"n": 12345678901234567890},
            },
            "context": {"k": 1},
            "config": {"x": 1},
            "may_transform": True,
        }
    ]


def test_a_result_comes_with_its_call() -> None:
    """With a result an interceptor is told the call that gave it, and whether it is an error."""
    guest = fake("a", PASS)
    run(guest, phase="response", arguments=b'{"n":1}', result=b'["x"]')
    (request,) = asked(guest)
    assert (request["result"], request["result_is_error"]) == (["x"], False)
    assert request["tool_call"]["arguments"] == {"n": 1}


def test_no_arguments_are_an_empty_object() -> None:
    """A call without arguments has `{}`, for interceptors and for the caller."""
    guest = fake("a", PASS)
    answer = run(guest, arguments=b"")
    assert asked(guest)[0]["tool_call"]["arguments"] == {}
    assert (answer.payload, answer.mutated) == (b"{}", False)


@pytest.mark.parametrize("arguments", [b"[]", b"1", b"{", b'{"a":1,"a":2}', b"\xff", b'{"a":"\\ud800"}', b"{} {}"])
def test_unreadable_arguments_are_denied(arguments: bytes) -> None:
    """Arguments that are no JSON object are denied before any interceptor sees them."""
    guest = fake("a", PASS)
    answer = run(guest, arguments=arguments)
    assert answer.denial is not None
    assert answer.denial.code is DenialCode.INVALID_ARGUMENTS
    assert (asked(guest), answer.outcomes, answer.payload) == ([], (), b"")


# --- verdicts --------------------------------------------------------------------------------------------------------


def test_a_deny_ends_the_chain() -> None:
    """After a deny nobody else is asked, and the guest's message is the denial's."""
    later = fake("z", PASS)
    answer = run(fake("a", DENY), later)
    assert answer.denial is not None
    assert (answer.denial.code, answer.denial.message) == (DenialCode.INTERCEPTOR_DENIED, "no")
    assert [outcome.verdict for outcome in answer.outcomes] == ["deny"]
    assert answer.outcomes[0].reason == "because"
    assert asked(later) == []


def test_on_error_does_not_override_a_deny() -> None:
    """A deny stands also where failures are allowed."""
    assert run(fake("a", DENY, allow_on_error=True)).denial is not None


def test_a_deny_without_a_message_has_one() -> None:
    """An agent is told something, also by a guest that says nothing."""
    answer = run(fake("a", {"verdict": "deny"}))
    assert answer.denial is not None
    assert answer.denial.message == "an interceptor denied the call"


def test_a_transform_is_what_the_next_one_sees() -> None:
    """Each interceptor is given what the one before it made, and the caller what the last one made."""
    first = fake("a", set_arguments(n=1))
    second = fake("b", lambda request: set_arguments(m=request["tool_call"]["arguments"]["n"] + 1))
    answer = run(first, second, arguments=b'{"n":0}')
    assert (json.loads(answer.payload), answer.mutated) == ({"m": 2}, True)


def test_a_transform_goes_on_byte_for_byte() -> None:
    """What a guest wrote is not written anew: blanks, order, escapes and numbers stay."""
    text = b'{"verdict":"transform", "arguments" : { "z":1.500, "a":1e400, "u":"\\u00e9" } , "reason":"r"}'
    answer = run(fake("a", lambda request: text))
    assert answer.payload == b'{ "z":1.500, "a":1e400, "u":"\\u00e9" }'


def test_the_same_bytes_are_no_change() -> None:
    """A transform that gives back what it got did not change anything."""
    assert run(fake("a", {"verdict": "transform", "arguments": {}})).mutated is False


def test_a_result_can_become_anything() -> None:
    """A new result may be any JSON value."""
    for value in (None, 1, "x", [1], {"a": None}):
        answer = run(fake("a", {"verdict": "transform", "result": value}), phase="response", result=b'"old"')
        assert json.loads(answer.payload) == value


def test_new_arguments_have_to_fit_the_tool() -> None:
    """Arguments that the tool's input schema does not take are a failure, and the old ones do not pass either."""

    def check(arguments: bytes) -> ConvertedInput:
        if b"bad" in arguments:
            raise InvalidArgumentsError("/bad", "must be good")
        return ConvertedInput({}, [])

    answer = run(fake("a", set_arguments(bad=1)), read=check)
    assert answer.denial is not None
    assert answer.denial.code is DenialCode.INTERCEPTOR_FAILED
    assert answer.outcomes[0].error_class is ErrorClass.BAD_OUTPUT
    assert "/bad: must be good" in answer.outcomes[0].reason
    assert run(fake("a", set_arguments(good=1)), read=check).denial is None
    # With `on_error = "allow"` what goes on is what the interceptor was given, not what it made.
    allowed = run(fake("a", set_arguments(bad=1), allow_on_error=True), arguments=b'{"old":1}', read=check)
    assert (allowed.denial, allowed.payload, allowed.mutated) == (None, b'{"old":1}', False)


# --- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error_class", ErrorClass)
@pytest.mark.parametrize("allow", [False, True])
def test_a_failure_follows_on_error(error_class: ErrorClass, allow: bool) -> None:
    """Every class of failure denies by default; where its binding allows it, the chain goes on with the payload."""
    later = fake("z", PASS)
    answer = run(fake("a", fails(error_class), allow_on_error=allow), later, arguments=b'{"a":1}')
    first = answer.outcomes[0]
    assert (first.verdict, first.error_class, first.reason) == ("failed", error_class, "because")
    assert len(asked(later)) == int(allow)
    if allow:
        assert (answer.denial, answer.payload) == (None, b'{"a":1}')
    else:
        assert answer.denial is not None
        assert answer.denial.code is DenialCode.INTERCEPTOR_FAILED
        assert "because" not in answer.denial.message


def test_too_large_a_request_is_not_handed_over() -> None:
    """A request beyond the limit is the interceptor's failure, and it is not called."""
    guest = fake("a", PASS)
    answer = run(guest, arguments=json.dumps({"a": "x" * 10_000}).encode())
    assert answer.outcomes[0].error_class is ErrorClass.TOO_LARGE
    assert asked(guest) == []


def test_the_callers_deadline_bounds_the_chain() -> None:
    """Where the caller's time is over there is no answer, also if failures are allowed."""
    with pytest.raises(DeadlineExceededError):
        run(fake("a", PASS), seconds=0)

    def slow(request: dict[str, Any]) -> object:
        time.sleep(0.05)
        raise GuestFailureError(ErrorClass.DEADLINE, "over")

    with pytest.raises(DeadlineExceededError):
        run(fake("a", slow, allow_on_error=True), seconds=0.02)


# --- shadow ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [DENY, set_arguments(a=1), fails(ErrorClass.TRAP)], ids=["deny", "new", "fails"])
def test_a_shadow_interceptor_changes_nothing(answer: Answer | dict[str, Any]) -> None:
    """What an interceptor in shadow mode says is reported, and neither the payload nor the decision follows it."""
    later = fake("z", PASS)
    result = run(fake("a", answer, shadow=True), later, arguments=b'{"old":1}')
    assert (result.denial, result.payload, result.mutated) == (None, b'{"old":1}', False)
    assert [outcome.shadow for outcome in result.outcomes] == [True, False]
    assert asked(later)[0]["tool_call"]["arguments"] == {"old": 1}


# --- annotations -----------------------------------------------------------------------------------------------------


def test_only_declared_facts_count() -> None:
    """A fact that the binding does not declare is dropped; a declared one is typed."""
    guest = fake("a", {**PASS, "annotations": {"risk": 7, "other": 1}}, declared={"risk": parse_type("Long")})
    (outcome,) = run(guest).outcomes
    assert (outcome.stated, outcome.annotations) == ({"risk": 7}, {"risk": 7})


def test_a_fact_of_another_type_is_a_failure() -> None:
    """A declared fact of the wrong type is not passed on, and not passed over."""
    guest = fake("a", {**PASS, "annotations": {"risk": "high"}}, declared={"risk": parse_type("Long")})
    assert run(guest).outcomes[0].error_class is ErrorClass.BAD_OUTPUT


# --- counters --------------------------------------------------------------------------------------------------------


def test_outcomes_are_counted() -> None:
    """Every outcome is counted under its verdict, failures under their class."""
    guest = fake("a", lambda request: request["tool_call"]["arguments"]["reply"])
    for reply in (PASS, PASS, DENY, set_arguments(reply=PASS), {"error": "x"}, {"verdict": "maybe"}):
        run(guest, arguments=json.dumps({"reply": reply}).encode())
    counts = guest.counters.counts()
    assert (counts.calls, counts.passed, counts.denied, counts.transformed) == (6, 2, 1, 1)
    assert counts.failures == {ErrorClass.GUEST_ERROR: 1, ErrorClass.BAD_OUTPUT: 1}
    assert counts.last_failure_at is not None
    assert counts.total_ns > 0


def test_who_keeps_failing_is_unhealthy_until_it_succeeds() -> None:
    """Some failures in a row make an interceptor unhealthy, which is told once; one success makes it healthy."""
    told: list[tuple[int, str]] = []
    answers: list[object] = []
    guest = fake("a", lambda request: answers[-1], log=lambda level, text: told.append((level, text)))
    for number in range(UNHEALTHY_AFTER + 2):
        answers.append({"error": "x"})
        run(guest)
        assert guest.counters.counts().healthy is (number + 1 < UNHEALTHY_AFTER)
    assert told == [(3, "keeps failing, and is unhealthy until it succeeds again")]
    answers.append(PASS)
    run(guest)
    assert guest.counters.counts().healthy
