"""What the tests of the clients share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.clients.player", "tests.clients.runner")

from tests.clients.credentials import Credentials, make_credentials  # noqa: E402 - rewritten, as said above
from tests.clients.runner import Program, Programs, Runner, require_built  # noqa: E402


@pytest.fixture(scope="session")
def credentials(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    """Certificates and keys for this run."""
    return make_credentials(tmp_path_factory.mktemp("credentials"))


@pytest.fixture(scope="module")
def program(request: pytest.FixtureRequest) -> Program:
    """A built program; parametrized by the tests."""
    found: Program = request.param
    require_built(found.language)
    return found


@pytest.fixture(scope="module")
def started(program: Program) -> Iterator[Programs]:
    """The program, as often as it has to be started."""
    with Programs(program) as programs:
        yield programs


@pytest.fixture
def runner(started: Programs) -> Runner:
    """A running program."""
    return started.runner()
