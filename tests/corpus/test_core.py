"""The corpus at the core: `Snapshot.authorizer` and `decision_line`."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path

import pytest

from pdp import wire
from pdp.app import authorize_options
from pdp.bundle.archive import open_source
from pdp.bundle.loader import Loader
from pdp.bundle.snapshot import Snapshot
from pdp.bundle.source import SourceLimits
from pdp.cedar.authorize import Authorizer
from pdp.cedar.model import Authorization
from pdp.cedar.options import AuthorizeOptions
from pdp.config import Config
from pdp.decision_log.record import decision_line
from pdp.errors import InvalidRequestError
from tests.corpus.conftest import BundlePath, pack
from tests.corpus.corpus import ROOT, Case, load_cases
from tests.corpus.forms import answer_form, expected_error, record_form

BUNDLES = sorted({case.bundle for case in load_cases() if not case.bundle.endswith(".tar.gz")})


@cache
def load(path: Path) -> Snapshot:
    return Loader(AuthorizeOptions()).load(open_source(path, SourceLimits()).read())


@pytest.fixture
def snapshot(case: Case, bundle_path: BundlePath) -> Snapshot:
    return load(bundle_path(case.bundle))


def fresh(case: Case, snapshot: Snapshot, *, decision_cache: int = 10_000) -> Authorizer:
    """An authorizer that has answered nothing yet."""
    options = authorize_options(Config.model_validate(case.config).authorize)
    return Authorizer(snapshot.authorizer.model, dataclasses.replace(options, decision_cache=decision_cache))


def ask(case: Case, authorizer: Authorizer) -> Authorization | InvalidRequestError:
    try:
        return authorizer.authorize(wire.read_authorize(case.message()))
    except InvalidRequestError as error:
        return error


def check(case: Case, answer: Authorization | InvalidRequestError) -> None:
    """The answer is the case's."""
    if isinstance(answer, Authorization):
        assert answer_form(answer) == case.response
        return
    error = {"code": "INVALID_ARGUMENT", "reason": answer.reason, "field": answer.field, "message": answer.message}
    assert error == expected_error(case, error)


def test_first_answer(case: Case, snapshot: Snapshot) -> None:
    """Asked once, the core gives the answer or the error of the case."""
    check(case, ask(case, fresh(case, snapshot)))


def test_later_answers(case: Case, snapshot: Snapshot) -> None:
    """Asked again, the core gives the same answer from its cache."""
    authorizer = fresh(case, snapshot)
    for _ in range(3):
        check(case, ask(case, authorizer))


def test_answers_without_a_cache(case: Case, snapshot: Snapshot) -> None:
    """Without a decision cache every evaluation, of the whole or of what varies, gives the same answer."""
    authorizer = fresh(case, snapshot, decision_cache=0)
    for _ in range(3):
        check(case, ask(case, authorizer))


def test_batch(case: Case, snapshot: Snapshot) -> None:
    """In a batch, beside itself and a malformed question, the question gets the same answer."""
    try:
        query = wire.read_authorize(case.message())
    except InvalidRequestError as error:
        check(case, error)
        return
    malformed = query._replace(principal=query.principal._replace(type="no type"))
    first, broken, second = fresh(case, snapshot).authorize_batch([query, malformed, query])
    assert isinstance(broken, InvalidRequestError)
    check(case, first)
    check(case, second)


def test_record(decided: Case, bundle_path: BundlePath) -> None:
    """The decision's record is the case's."""
    snapshot = load(bundle_path(decided.bundle))
    answer = ask(decided, fresh(decided, snapshot))
    assert isinstance(answer, Authorization)
    message = decided.message()
    line = decision_line(
        wire.read_authorize(message),
        answer,
        time_ns=1_750_000_000_123_456_789,
        duration_ns=4_567,
        decision_id="d-1",
        request_id=message.request_id,
        revision=snapshot.revision,
        arguments=Config.model_validate(decided.config).decision_log.arguments,
    )
    assert "\n" not in line
    assert line.isascii()
    assert '"time":"2025-06-15T15:06:40.123456Z"' in line
    assert record_form(decided, line, decision_id="d-1", revision=snapshot.revision) == decided.log


@pytest.mark.parametrize("bundle", BUNDLES)
def test_archive_has_the_revision_of_its_directory(bundle: str, tmp_path: Path) -> None:
    """A `.tar.gz` of a bundle, made by another program than this, has the directory's revision."""
    archive = tmp_path / "bundle.tar.gz"
    pack(ROOT / bundle, archive)
    packed = open_source(archive, SourceLimits()).read()
    assert packed.revision == open_source(ROOT / bundle, SourceLimits()).read().revision
