"""The corpus itself: what a case may look like, and that nothing is left out unnoticed."""

from __future__ import annotations

import json
from itertools import chain
from pathlib import Path

import pytest

from pdp.bundle.archive import open_source
from pdp.bundle.source import SourceLimits
from pdp.cedar.model import DenialCode
from pdp.cli import main
from tests.corpus.assemble import GUESTS, modules
from tests.corpus.corpus import LEVELS, ROOT, RPCS, Case, Json, Question, load_cases, parse_cases
from tests.corpus.forms import message_form, read_message

#: What each RPC can deny with. Interceptors are asked by two of them, and only a call is denied for its arguments.
OF_INTERCEPTORS = {DenialCode.INTERCEPTOR_DENIED, DenialCode.INTERCEPTOR_FAILED}
OF_ARGUMENTS = {DenialCode.INVALID_ARGUMENTS, DenialCode.INVALID_TOKEN}
CODES = {
    "Authorize": set(DenialCode) - OF_INTERCEPTORS,
    "Decide": set(DenialCode),
    "FilterTools": set(DenialCode) - OF_INTERCEPTORS - {DenialCode.INVALID_ARGUMENTS, DenialCode.POLICY_ERROR},
    "Intercept": OF_INTERCEPTORS | OF_ARGUMENTS,
}
#: How many cases at least ask each RPC.
LEAST_CASES = 20

GOOD: Json = {
    "name": "n",
    "bundle": "b",
    "request": {},
    "expect": {"error": {"code": "INVALID_ARGUMENT", "reason": "MISSING_FIELD", "field": "target"}},
}


def test_names_are_unique() -> None:
    """A failure names one case."""
    names = [case.name for case in load_cases()]
    assert len(names) == len(set(names))


def test_every_bundle_has_cases() -> None:
    """No bundle of the corpus lies there unused, and the ones that people start from are among them."""
    used = {case.bundle.removesuffix(".tar.gz") for case in load_cases()}
    own = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests/corpus/bundles").iterdir()}
    assert used == own | {"examples/quickstart", "pdp/cli/starter"}


@pytest.mark.parametrize("rpc", RPCS)
def test_every_denial_code_has_a_case(rpc: str) -> None:
    """Each reason for which an RPC denies, or hides a tool, is decided by some case, and no other is."""
    answers = [case.response for case in load_cases() if case.rpc == rpc and case.response]
    denied = chain(answers, *(answer.get("hidden", ()) for answer in answers))
    found = {form["denial"]["code"] for form in denied if "denial" in form}
    assert found == {f"DENIAL_CODE_{code.value}" for code in CODES[rpc]}


@pytest.mark.parametrize("level", sorted(LEVELS))
@pytest.mark.parametrize("rpc", RPCS)
def test_every_rpc_has_cases(rpc: str, level: str) -> None:
    """Every RPC is asked at every level, for answers and for errors."""
    cases = [case for case in load_cases() if case.rpc == rpc and level not in case.not_at]
    assert len(cases) >= LEAST_CASES
    assert any(case.error for case in cases)
    assert any(case.response for case in cases)


def test_modules_are_their_sources() -> None:
    """Each module is assembled from its source, to the byte, and each source is a module's."""
    found = list(modules())
    assert {path.stem for path, _ in found} == {path.stem for path in GUESTS.glob("*.wat")}
    assert [path.as_posix() for path, content in found if path.read_bytes() != content] == []


def test_no_case_changes_another() -> None:
    """A tool of which a case brings a definition is no other case's: the service remembers what was reported."""
    reported: dict[tuple[str, str, str], list[str]] = {}
    for case in load_cases():
        for server, tool in set[tuple[str, str]]().union(*(question.reported_tools() for question in _asked(case))):
            reported.setdefault((case.bundle, server, tool), []).append(case.name)
    for case in load_cases():
        for server, tool in set[tuple[str, str]]().union(*(question.asked_tools() for question in _asked(case))):
            assert reported.get((case.bundle, server, tool), [case.name]) == [case.name]


def _asked(case: Case) -> tuple[Question, ...]:
    return (*case.after, case)


def test_case_is_in_the_words_of_the_protos(case: Case) -> None:
    """Request and response are proto JSON that any client reads, and the response is spelled as the protos spell it."""
    for question in _asked(case):
        question.message()
    if case.response is not None:
        response = RPCS[case.rpc][1]()
        read_message(case.response, response)
        assert message_form(response) == case.response


def test_what_cannot_be_asked_says_why(case: Case) -> None:
    """A case is left out at a level only with a reason, and never at the service."""
    assert "server" not in case.not_at
    assert all(case.not_at.values())


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({**GOOD, "argument": "{}"}, id="a key that the format does not have"),
        pytest.param({**GOOD, "expect": {}}, id="nothing expected"),
        pytest.param({**GOOD, "expect": {"response": {}}}, id="a decision without its record"),
        pytest.param({**GOOD, "expect": {"response": {}, "log": {}, "error": {}}}, id="a decision and an error"),
        pytest.param({**GOOD, "not_at": {"moon": "too far"}}, id="a level that there is not"),
        pytest.param({**GOOD, "rpc": "Guess"}, id="an RPC that there is not"),
        pytest.param({**GOOD, "rpc": "FilterTools", "expect": {"response": {}, "log": {}}}, id="a record of a list"),
        pytest.param({**GOOD, "rpc": "Decide", "expect": {"response": {}}}, id="a decision of layers without a record"),
        pytest.param({**GOOD, "definitions": {"read": "{}"}}, id="a definition of a tool that is not listed"),
        pytest.param({**GOOD, "after": [{"request": {}, "expect": {}}]}, id="an expectation of what is asked before"),
    ],
)
def test_a_case_that_is_not_of_the_format_is_refused(broken: Json) -> None:
    """A slip in a case is an error, not a case that checks less than its author thinks."""
    with pytest.raises(ValueError, match="is not of the format"):
        parse_cases("file", json.dumps([broken]))


def test_a_key_given_twice_is_refused() -> None:
    """A key written twice in a case is an error: one of the two would be lost."""
    assert len(parse_cases("file", json.dumps([GOOD]))) == 1
    with pytest.raises(ValueError, match="stands twice"):
        parse_cases("file", json.dumps([GOOD]).replace('"bundle"', '"name"'))


def test_text_can_be_described() -> None:
    """A long text is written as its parts, wherever a text can stand."""
    [case] = parse_cases("file", json.dumps([{**GOOD, "context": {"$text": ["<", {"repeat": "ab", "times": 3}, ">"]}}]))
    assert case.documents == {"context": b"<ababab>"}


def test_the_starter_is_what_init_writes(tmp_path: Path) -> None:
    """The cases about the starter bundle are about what `pdp init` writes."""
    assert main(["init", str(tmp_path / "bundle")]) == 0
    written = open_source(tmp_path / "bundle", SourceLimits()).read()
    assert written.revision == open_source(ROOT / "pdp/cli/starter", SourceLimits()).read().revision


def test_the_example_in_the_readme_is_a_case() -> None:
    """The case that the documentation of the format shows is one of the corpus, to the letter."""
    text = (ROOT / "tests/corpus/README.md").read_text("utf-8")
    [shown] = parse_cases("typed", "[" + text.split("```json\n")[1].split("```")[0] + "]")
    assert shown in load_cases()
