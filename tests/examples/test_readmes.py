"""The pages of the examples: what they say to run is run, and answers what they say."""

from __future__ import annotations

import hashlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from pdp.cli import main
from tests.examples.conftest import Serve
from tests.examples.sessions import EXAMPLES, ROOT
from tests.grpc.service import Service

PAGES = ["gateway", "github-read-only", "on-behalf-of", "payment-limit"]
#: New in each run, or when a module is built anew: the ids, the revision, how long something took.
_VOLATILE = re.compile(r"decision [0-9a-f]+, revision [0-9a-f]+|\([0-9.]+ (us|ms|s)\)")
_COMMAND = re.compile(r"^\$ ((?:.*\\\n)*.*)\n", re.MULTILINE)

pytestmark = pytest.mark.slow


def page(name: str) -> str:
    return (EXAMPLES / name / "README.md").read_text("utf-8")


def shown(text: str) -> list[tuple[list[str], str]]:
    """The commands of a page with the answers below them, in order."""
    found = []
    for block in re.findall(r"^```\n(\$ .*?)^```", text, re.DOTALL | re.MULTILINE):
        _, *parts = _COMMAND.split(block)
        found += [(shlex.split(c.replace("\\\n", " ")), a) for c, a in zip(parts[::2], parts[1::2], strict=True)]
    return found


def settled(answer: str) -> str:
    """An answer without what is new in each run."""
    return _VOLATILE.sub("", answer).strip()


@pytest.fixture(scope="module", params=PAGES)
def served(request: pytest.FixtureRequest, serve: Serve) -> Iterator[tuple[str, Service]]:
    """A page, and a service of the bundle that it says to serve."""
    bundles = re.findall(r"^\.venv/bin/pdp serve --bundle (\S+)$", page(request.param), re.MULTILINE)
    assert len(bundles) == 1
    with capture_logs():
        yield page(request.param), serve(ROOT / bundles[0])


def run(words: list[str], address: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command of a page prints, asked of this service."""
    program, *arguments = words
    if program == ".venv/bin/pdp":
        capsys.readouterr()
        assert main([*arguments, "--address", address]) in (0, 1)
        return capsys.readouterr().out
    assert program == ".venv/bin/python"
    command = [sys.executable, *arguments, "--pdp", address]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_the_questions_of_a_page_have_its_answers(
    served: tuple[str, Service], capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command that a page shows with an answer, asked of the service that it says to start, answers so."""
    text, service = served
    commands = shown(text)
    assert commands
    for words, answer in commands:
        assert settled(run(words, service.address, capsys)) == settled(answer), words


@pytest.mark.parametrize("name", PAGES)
def test_every_answer_is_compared(name: str) -> None:
    """No command of a page is passed over, and none has an empty answer."""
    assert len(shown(page(name))) == len(re.findall(r"^\$ ", page(name), re.MULTILINE))
    assert all(answer.strip() for _, answer in shown(page(name)))


def test_every_bundle_among_the_examples_loads_without_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    """`pdp check` finds nothing in any bundle that lies among the examples."""
    bundles = sorted(path.parent for path in EXAMPLES.rglob("bundle.toml"))
    assert {"quickstart", "github-read-only", "payment-limit", "bundle"} <= {path.name for path in bundles}
    for bundle in bundles:
        assert main(["check", str(bundle)]) == 0
        assert "0 errors, 0 warnings" in capsys.readouterr().out


def test_links_of_the_pages_lead_somewhere() -> None:
    """Every file that a page refers to is there."""
    for path in EXAMPLES.glob("**/README.md"):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), f"{path.relative_to(ROOT)}: {target}"


def test_every_example_is_in_the_list() -> None:
    """The page about the examples names every directory beside it."""
    directories = {path.name for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__"}
    listed = set(re.findall(r"^\| \[`([a-z-]+)`\]", (EXAMPLES / "README.md").read_text("utf-8"), re.MULTILINE))
    assert listed == directories


def test_the_pinned_lists_are_the_recorded_ones() -> None:
    """A server's list in an example's bundle that also lies among the manifests is the same, to the byte."""
    manifests = EXAMPLES / "manifests"
    pinned = [EXAMPLES / "gateway" / "bundle" / "tools" / "git.json", *(EXAMPLES / "quickstart" / "tools").iterdir()]
    for path in pinned:
        assert path.read_bytes() == (manifests / path.name).read_bytes(), path


def interceptors() -> list[Path]:
    return sorted(EXAMPLES.glob("**/interceptors/*.wasm"))


@pytest.mark.parametrize("module", interceptors(), ids=lambda path: path.stem)
def test_modules_are_those_of_their_sources(module: Path) -> None:
    """A module that lies in an example's bundle is small, and its digest stands beside its source."""
    [recorded] = (ROOT / "interceptors_wasm" / "examples" / module.stem).glob(f"*/{module.name}.sha256")
    assert hashlib.sha256(module.read_bytes()).hexdigest() == recorded.read_text().split()[0]
    assert module.stat().st_size < 100_000


def test_there_are_modules() -> None:
    """The modules of the gateway's bundle are found."""
    assert {module.stem for module in interceptors()} >= {"path_guard", "redact_secrets", "risk_score"}
