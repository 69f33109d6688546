"""Cedar's answers put together into decisions."""

from __future__ import annotations

import cedarpy
import pytest

from pdp.cedar.evaluate import CedarRequest, RefusedRequestError, cedar_uids, evaluate, evaluate_fixed
from pdp.cedar.index import Rule
from pdp.cedar.model import Authorization, Denial, DenialCode, EntityUid, PolicyError, ShadowReport
from pdp.cedar.policies import parse_policies
from pdp.cedar.slices import PolicySlice

ALLOW = '@id("allow") permit(principal, action, resource);'
FORBID = '@id("no") forbid(principal, action, resource) when { context.n > 1 };'
ALWAYS = '@id("never") forbid(principal, action, resource);'
BROKEN_FORBID = '@id("broken") forbid(principal, action, resource) when { principal.absent };'
BROKEN_PERMIT = '@id("lame") permit(principal, action, resource) when { context.absent };'


def _slice(*texts: str) -> PolicySlice:
    parsed = parse_policies("p.cedar", "\n".join(texts))
    assert not parsed.problems
    return PolicySlice([Rule(policy.id, policy) for policy in parsed.policies])


def _request(n: int = 1, principal: str = "User") -> CedarRequest:
    uid = EntityUid(principal, "a")
    entities = cedarpy.Entities.from_json_str("[]")
    return CedarRequest(cedar_uids(uid, EntityUid("Action", "read"), uid), f'{{"n": {n}}}', entities, None)


def _answer(*texts: str, n: int = 1, strict: bool = True) -> Authorization:
    """The answer, which is the same whether or not what never changes was worked out before."""
    policies = _slice(*texts)
    [whole] = evaluate(policies, [_request(n)], None, strict=strict)
    [parts] = evaluate(policies, [_request(n)], evaluate_fixed(policies, _request(n)), strict=strict)
    assert parts == whole
    return whole


def test_a_permit_allows() -> None:
    """A matching permit allows and is named with its annotations."""
    answer = _answer('@id("b") @advice("x") permit(principal, action, resource);', ALLOW)
    assert (answer.allowed, answer.denial, answer.errors, answer.shadow) == (True, None, (), None)
    assert [(p.policy_id, p.effect, dict(p.annotations)) for p in answer.determining] == [
        ("allow", "permit", {"id": "allow"}),
        ("b", "permit", {"id": "b", "advice": "x"}),
    ]


def test_no_permit_denies() -> None:
    """What nothing permits is denied."""
    for texts in ((), (FORBID,)):
        expected = Denial(DenialCode.NO_MATCHING_POLICY, "no policy permits this call")
        assert _answer(*texts) == Authorization(False, expected)


def test_a_forbid_wins() -> None:
    """A matching forbid denies whatever else permits, and only forbids are named."""
    for texts in ((ALLOW, FORBID), (FORBID, ALLOW), (ALLOW, FORBID, BROKEN_FORBID)):
        answer = _answer(*texts, n=2)
        assert answer.denial == Denial(DenialCode.FORBIDDEN, "a policy forbids this call")
        assert [policy.policy_id for policy in answer.determining] == ["no"]


def test_messages_of_forbids_are_shown() -> None:
    """Each `@message` of the forbids that matched is shown once, in the order of their ids; others stay unnamed."""
    texts = [
        f'@id("{name}") @message("{text}") forbid(principal, action, resource);'
        for name, text in (("c", "third"), ("a", "first"), ("b", "first"), ("d", ""))
    ]
    denial = _answer(ALLOW, ALWAYS, *texts).denial
    assert denial == Denial(DenialCode.FORBIDDEN, "first; third")


def test_a_forbid_that_fails_denies() -> None:
    """A forbid that cannot be evaluated might have forbidden: strictly that is a denial, with nothing of the cause."""
    answer = _answer(ALLOW, BROKEN_FORBID)
    text = "a policy that could forbid this call failed to evaluate"
    assert (answer.allowed, answer.denial, answer.determining) == (False, Denial(DenialCode.POLICY_ERROR, text), ())
    [error] = answer.errors
    assert error.policy_id == "broken"
    assert "absent" in error.message or "does not exist" in error.message


def test_a_forbid_that_fails_is_passed_over_if_configured() -> None:
    """Without strictness the answer is Cedar's own, and the error is still reported."""
    answer = _answer(ALLOW, BROKEN_FORBID, strict=False)
    assert answer.allowed
    assert [error.policy_id for error in answer.errors] == ["broken"]


def test_a_permit_that_fails_is_reported() -> None:
    """A permit that cannot be evaluated permits nothing and hinders nothing."""
    assert [error.policy_id for error in _answer(BROKEN_PERMIT).errors] == ["lame"]
    assert _answer(BROKEN_PERMIT).denial == Denial(DenialCode.NO_MATCHING_POLICY, "no policy permits this call")
    answer = _answer(ALLOW, BROKEN_PERMIT)
    assert answer.allowed
    assert [error.policy_id for error in answer.errors] == ["lame"]


def test_errors_are_in_order() -> None:
    """Errors come in the order of the policies' ids, whatever order Cedar had."""
    texts = [
        f'@id("{name}") permit(principal, action, resource) when {{ context.absent_{name} }};' for name in "hbkadj"
    ]
    assert [error.policy_id for error in _answer(*texts).errors] == sorted("hbkadj")


@pytest.mark.parametrize(
    "name", ["policy0", "policy1", "link0", "a`: b", "`", "error while evaluating policy `policy1`: x"]
)
def test_ids_cannot_be_mistaken(name: str) -> None:
    """Whatever a policy is called, errors and reasons are put down to the right one."""
    texts = [
        '@id("first") permit(principal, action, resource) when { context.n == 1 };',
        f'@id("{name}") forbid(principal, action, resource) when {{ context.absent }};',
        '@id("last") permit(principal, action, resource) when { context.n == 2 };',
    ]
    answer = _answer(*texts, strict=False)
    assert [policy.policy_id for policy in answer.determining] == ["first"]
    [error] = answer.errors
    assert error.policy_id == name


# --- shadow ----------------------------------------------------------------------------------------------------------


def _shadowed(text: str) -> str:
    return f'@enforcement("shadow") {text}'


def _report(*texts: str, n: int = 1, strict: bool = True) -> tuple[bool, ShadowReport | None]:
    answer = _answer(*texts, n=n, strict=strict)
    return answer.allowed, answer.shadow


def test_shadow_policies_never_decide() -> None:
    """A shadow policy is reported as flipping where it would have decided, and changes nothing."""
    assert _report(ALLOW, _shadowed(FORBID), n=2) == (True, ShadowReport(False, ("no",), ("no",)))
    assert _report(ALLOW, _shadowed(FORBID), n=1) == (True, ShadowReport(True, (), ()))
    assert _report(_shadowed(ALLOW)) == (False, ShadowReport(True, ("allow",), ("allow",)))
    assert _report(ALWAYS, _shadowed(ALLOW)) == (False, ShadowReport(False, (), ("allow",)))
    assert _report(_shadowed(ALLOW), _shadowed(FORBID), n=2) == (False, ShadowReport(False, (), ("allow", "no")))


def test_shadow_policies_that_fail_are_matched() -> None:
    """A shadow forbid that fails would deny strictly; it is reported with its error, and changes nothing."""
    answer = _answer(ALLOW, _shadowed(BROKEN_FORBID))
    assert (answer.allowed, [error.policy_id for error in answer.errors]) == (True, ["broken"])
    assert answer.shadow == ShadowReport(False, ("broken",), ("broken",))
    assert _report(ALLOW, _shadowed(BROKEN_FORBID), strict=False) == (True, ShadowReport(True, (), ("broken",)))
    assert _report(_shadowed(BROKEN_PERMIT)) == (False, ShadowReport(False, (), ("lame",)))


def test_only_shadow_policies_are_an_answer_too() -> None:
    """Without any enforced policy everything is denied by default."""
    answer = _answer(_shadowed(FORBID))
    assert answer.denial == Denial(DenialCode.NO_MATCHING_POLICY, "no policy permits this call")


# --- batches and refusals --------------------------------------------------------------------------------------------


def test_several_requests_are_answered_in_order() -> None:
    """Requests that are asked together get their own answers."""
    policies = _slice(ALLOW, FORBID)
    answers = evaluate(policies, [_request(n) for n in (1, 2, 0, 3)], None, strict=True)
    assert [answer.allowed for answer in answers] == [True, False, True, False]


def test_equal_answers_are_one_object() -> None:
    """Answers that Cedar gives in the same words are put together once."""
    policies = _slice(ALLOW, FORBID)
    one, other = evaluate(policies, [_request(1), _request(0)], None, strict=True)
    assert one is other


def test_a_request_that_cedar_refuses_is_no_decision() -> None:
    """What Cedar cannot build is an error, not even a denial; also where no policy applies."""
    for texts in ((ALLOW,), (), (_shadowed(ALLOW),)):
        with pytest.raises(RefusedRequestError):
            evaluate(_slice(*texts), [_request(principal="not a type")], None, strict=True)
        with pytest.raises(RefusedRequestError):
            evaluate(_slice(*texts), [_request()._replace(context='{"a": 1.5}')], None, strict=True)


def test_links_are_named_by_their_own_ids() -> None:
    """Links of one template are told apart, beside static policies with names like Cedar's own."""
    [template, static] = parse_policies(
        "p.cedar",
        "permit(principal == ?principal, action, resource) when { context.n == 1 };"
        '@id("link0") permit(principal, action, resource) when { context.n == 1 };',
    ).policies
    a, b = EntityUid("User", "a"), EntityUid("User", "b")
    rules = [
        Rule("for b", template, {"?principal": b}),
        Rule(static.id, static),
        Rule("for a", template, {"?principal": a}),
    ]
    [answer] = evaluate(PolicySlice(rules), [_request()], None, strict=True)
    assert [policy.policy_id for policy in answer.determining] == ["for a", "link0"]


def test_errors_of_long_ids_are_not_kept() -> None:
    """An error can quote an id of any length; such answers are given and forgotten."""
    policies = _slice("forbid(principal, action, resource) when { principal.absent };")
    uid = EntityUid("User", "x" * 20_000)
    request = _request()._replace(uids=cedar_uids(uid, EntityUid("Action", "read"), uid))
    [answer] = evaluate(policies, [request], None, strict=True)
    assert answer.errors != ()
    assert isinstance(answer.errors[0], PolicyError)
    assert len(policies.answers) == 0
