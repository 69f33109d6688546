"""The corpus itself: what a case may look like, and that nothing is left out unnoticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf import json_format

from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.bundle.archive import open_source
from pdp.bundle.source import SourceLimits
from pdp.cedar.model import DenialCode
from pdp.cli import main
from tests.corpus.corpus import ROOT, Case, Json, load_cases, parse_cases

#: What Authorize does not answer with: it sees no definitions of tools and runs no interceptors.
OF_OTHER_CALLS = {DenialCode.TOOL_CHANGED, DenialCode.INTERCEPTOR_DENIED, DenialCode.INTERCEPTOR_FAILED}

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


def test_every_denial_code_has_a_case() -> None:
    """Each reason for which Authorize denies is decided by some case."""
    found = {case.response["denial"]["code"] for case in load_cases() if case.response and "denial" in case.response}
    assert found == {f"DENIAL_CODE_{code.value}" for code in set(DenialCode) - OF_OTHER_CALLS}


def test_case_is_in_the_words_of_the_protos(case: Case) -> None:
    """Request and response are proto JSON that any client reads, and the response is spelled as the protos spell it."""
    case.message()
    if case.response is not None:
        response = json_format.ParseDict(case.response, pb.AuthorizeResponse())
        assert json_format.MessageToDict(response, preserving_proto_field_name=True) == case.response


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
