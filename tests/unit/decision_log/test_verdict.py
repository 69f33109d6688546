"""The texts of answers, and that none is taken for another."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.cedar.model import Authorization, Denial, DenialCode, DeterminingPolicy, PolicyError, ShadowReport
from pdp.decision_log import verdict as module
from pdp.decision_log.verdict import verdict

_texts = st.text(max_size=20)
_denials = st.builds(Denial, st.sampled_from(DenialCode), _texts)
_answers = st.builds(
    Authorization,
    st.booleans(),
    st.none() | _denials,
    st.lists(st.builds(DeterminingPolicy, _texts, st.just("permit"), st.just({})), max_size=3).map(tuple),
    # What else Cedar says of errors may hold values; `evaluation_errors` has the tests for that.
    st.lists(st.builds(PolicyError, _texts, st.just("recursion limit reached")), max_size=2).map(tuple),
    st.none() | st.builds(ShadowReport, st.booleans(), st.tuples(_texts), st.tuples(_texts), st.none() | _denials),
)


def _read(answer: Authorization) -> dict[str, object]:
    read: dict[str, object] = json.loads(f"{{{','.join(verdict(answer)[:2])}{verdict(answer).shadow}}}")
    return read


def _expected(answer: Authorization) -> dict[str, object]:
    expected: dict[str, object] = {"decision": "ALLOW" if answer.allowed else "DENY", "code": ""}
    if answer.denial is not None:
        expected |= {"code": answer.denial.code.value, "message": answer.denial.message}
    expected["policies"] = [policy.policy_id for policy in answer.determining]
    expected["errors"] = [{"policy": error.policy_id, "message": error.message} for error in answer.errors]
    if (shadow := answer.shadow) is not None:
        told: dict[str, object] = {
            "would_be_decision": "ALLOW" if shadow.would_allow else "DENY",
            "flipping": list(shadow.flipping),
            "matched": list(shadow.matched),
        }
        if shadow.would_be_denial is not None:
            told |= {"code": shadow.would_be_denial.code.value, "message": shadow.would_be_denial.message}
        expected["shadow"] = told
    return expected


@given(st.lists(_answers, max_size=8))
def test_an_answer_is_written_as_it_is_however_often(answers: list[Authorization]) -> None:
    """The texts say what the answer says, the first time and when they were kept."""
    for answer in [*answers, *answers]:
        assert _read(answer) == _expected(answer)


def test_an_answer_in_the_place_of_another_is_not_taken_for_it() -> None:
    """Answers that come and go, as objects that may get the same address, each have their own texts."""
    for number in range(3 * module._MAX_KEPT):
        answer = Authorization.denied(DenialCode.FORBIDDEN, str(number))
        assert f'"message":"{number}"' in verdict(answer).decision
        del answer
    assert len(module._kept) <= module._MAX_KEPT


def test_texts_are_kept_in_bounded_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more answers than stated are kept, and none whose text is long."""
    monkeypatch.setattr(module, "_kept", {})
    monkeypatch.setattr(module, "_MAX_KEPT", 2)
    answers = [Authorization.denied(DenialCode.FORBIDDEN, letter) for letter in "abcde"]
    for answer in answers:
        verdict(answer)
        assert len(module._kept) <= 2
    long = Authorization.denied(DenialCode.FORBIDDEN, "x" * 2_000)
    assert "x" * 2_000 in verdict(long).decision
    assert id(long) not in module._kept


def test_answers_with_errors_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written of an error is short, and the answer that would be kept beside it can hold a megabyte."""
    monkeypatch.setattr(module, "_kept", {})
    message = (
        f"error while evaluating `decimal` extension function: `{'x' * 10_000}` is not a well-formed decimal value"
    )
    answer = Authorization(False, Denial(DenialCode.POLICY_ERROR, "a policy failed"), (), (PolicyError("p", message),))
    assert "xxx" not in verdict(answer).grounds
    assert module._kept == {}
