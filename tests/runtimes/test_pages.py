"""The pages of the integrations and their examples: the code is the example's, and it does what the page says."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.grpc.service import Service, serving
from tests.runtimes.conftest import ROOT

PAGES = ROOT / "docs/integrations"
EXAMPLES = ROOT / "examples/integrations"
BUNDLE = EXAMPLES / "bundle"
ADDRESS = "127.0.0.1:7437"
NAMES = ["fastmcp", "langchain", "mcp-python", "openai-agents", "plain-functions"]

pytestmark = pytest.mark.slow


def page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text("utf-8")


def commands(text: str) -> list[tuple[str, str]]:
    """The commands of a page that have an answer below them, with the answer."""
    return re.findall(r"^```\n\$ (.*)\n((?:.*\n)*?)```$", text, re.MULTILINE)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of the examples' bundle."""
    settings = {"source": str(BUNDLE), "watch": False}
    with serving(tmp_path_factory.mktemp("service"), {}, bundle=settings) as running:
        yield running


def copied(directory: Path, address: str) -> Path:
    """The examples, which ask the service at this address instead of the usual one."""
    for example in EXAMPLES.glob("*.py"):
        (directory / example.name).write_text(example.read_text("utf-8").replace(ADDRESS, address), "utf-8")
    return directory


def answer(command: str, directory: Path) -> str:
    """What a command of a page prints, with the examples in this directory."""
    python, *words = shlex.split(command)
    assert python == ".venv/bin/python"
    words = [word.replace("examples/integrations", str(directory)) for word in words]
    run = subprocess.run([sys.executable, *words], check=True, capture_output=True, text=True, cwd=ROOT)
    return run.stdout


@pytest.mark.parametrize("name", NAMES)
def test_the_code_of_a_page_is_an_example(name: str) -> None:
    """Every Python block of a page is a whole file of the examples."""
    files = {example.read_text("utf-8") for example in EXAMPLES.glob("*.py")}
    found = blocks(name, "python")
    assert found
    assert [block for block in found if block not in files] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_page_does_what_it_says(name: str, service: Service, tmp_path: Path) -> None:
    """Each command of a page prints what the page shows below it."""
    examples = copied(tmp_path, service.address)
    found = commands(page(name))
    assert found
    assert [(command, answer(command, examples)) for command, _ in found] == found


def test_every_example_is_run_by_a_page() -> None:
    """The commands of the examples' own page are those of the integrations' pages, which the test above makes."""
    listed = re.findall(r"^\| `(.*?)` \|", (EXAMPLES / "README.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(command for name in NAMES for command, _ in commands(page(name)))


@pytest.mark.parametrize("name", NAMES)
def test_without_the_service_the_examples_do_nothing(name: str, tmp_path: Path) -> None:
    """Where nobody answers, no example prints what only an allowed call gives."""
    examples = copied(tmp_path, "unix:/nonexistent/pdp.sock")
    for command, shown in commands(page(name)):
        words = [word.replace("examples/integrations", str(examples)) for word in shlex.split(command)[1:]]
        run = subprocess.run([sys.executable, *words], check=False, capture_output=True, text=True, cwd=ROOT)
        allowed = [line for line in shown.splitlines() if not line.startswith(("error", "FORBIDDEN"))]
        assert [line for line in allowed if line in run.stdout.splitlines()] == []


def test_a_guarded_fastmcp_server_takes_ten_lines() -> None:
    """The server on FastMCP's page has at most ten lines of code."""
    [code] = blocks("fastmcp", "python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 10


def test_the_way_from_nothing_is_as_the_page_shows(tmp_path: Path) -> None:
    """With the server, the commands and the policy of FastMCP's page a list, an allow and a denial are as shown."""
    [code] = blocks("fastmcp", "python")
    [policy] = blocks("fastmcp", "cedar")
    before, after = blocks("fastmcp", "sh")
    (tmp_path / "server.py").write_text(code, "utf-8")
    follow(before, tmp_path)
    (tmp_path / "my-bundle/policies/notes.cedar").write_text(policy, "utf-8")
    settings = {"source": str(tmp_path / "my-bundle"), "watch": False}
    with serving(tmp_path / "service", {}, bundle=settings) as running:
        (tmp_path / "server.py").write_text(code.replace(ADDRESS, running.address), "utf-8")
        follow(after, tmp_path)


def blocks(name: str, language: str) -> list[str]:
    """What a page shows in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page(name), re.DOTALL | re.MULTILINE)


def follow(session: str, directory: Path) -> None:
    """Make the commands of a shell's session here, and hold what they print to what is shown."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", session, re.MULTILINE):
        environment = {**os.environ, "PATH": path, "COLUMNS": "80"}
        words = ["sh", "-c", command]
        run = subprocess.run(words, check=False, capture_output=True, text=True, cwd=directory, env=environment)
        assert (command, run.stdout) == (command, shown), run.stderr


@pytest.mark.parametrize(
    ("file", "server"),
    [("notes_server.py:mcp", "notes"), ("mail_tools.py:tools", "mail"), ("ticket_agent.py:tools", "tickets")],
)
def test_the_bundle_pins_what_the_manifest_command_prints(file: str, server: str) -> None:
    """The pinned tools are those that the command prints of the examples, without a service."""
    command = [sys.executable, "-m", "pdp_client.integrations.manifest", str(EXAMPLES / file)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert json.loads(printed) == json.loads((BUNDLE / f"tools/{server}.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "usage: "),
        (["transfers.py"], "usage: "),
        (["transfers.py:other"], "`transfers.py` has no `other`"),
        (["transfers.py:transfer"], "`transfer`: no FastMCP server, and no list of"),
    ],
)
def test_the_manifest_command_says_what_is_missing(arguments: list[str], told: str) -> None:
    """What has no tools to print ends with a message and the status 1."""
    command = [sys.executable, "-m", "pdp_client.integrations.manifest", *arguments]
    run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=EXAMPLES)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith(told)
