"""The way to a client in any other language, as `clients/README.md` tells it, with Ruby as the example."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pdp.app import running
from tests.clients.runner import CLIENTS, ROOT
from tests.grpc.service import configuration

BUF = ROOT / "tools" / "buf" / "node_modules" / ".bin" / "buf"
PROGRAMS = ("ruby", "protoc", "grpc_ruby_plugin", str(BUF))
SECONDS = 120


def block(language: str, page: str) -> str:
    """The one block of this language on the page."""
    [found] = re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)
    return str(found)


def require_programs() -> None:
    """Skip the test where a program is missing, or with REQUIRE_CLIENTS fail."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if not missing:
        return
    told = f"`{missing[0]}` is missing: Debian's ruby-grpc and protobuf-compiler-grpc, and `npm ci --prefix tools/buf`"
    if os.environ.get("REQUIRE_CLIENTS"):
        pytest.fail(told)
    pytest.skip(told)


@pytest.mark.slow
def test_the_page_leads_to_an_answer(tmp_path: Path) -> None:
    """The page's files and commands, as they stand, make code that asks the service and prints what it says."""
    require_programs()
    page = (CLIENTS / "README.md").read_text()
    (tmp_path / "buf.gen.yaml").write_text(block("yaml", page))
    (tmp_path / "ask.rb").write_text(block("ruby", page))
    session = re.search(r"```\n\$ \S+ (generate .*)\n\$ ruby (.*) 127\.0\.0\.1:7437\n(.*?)```", page, re.DOTALL)
    assert session is not None
    generate, ask, printed = session.groups()
    here = {"buf.gen.yaml", "ask.rb", "stubs"}

    def arguments(line: str) -> list[str]:
        return [str(tmp_path / word) if word in here else word for word in line.split()]

    subprocess.run([str(BUF), *arguments(generate)], cwd=ROOT, check=True, timeout=SECONDS)
    quickstart = {"bundle": {"source": str(ROOT / "examples" / "quickstart")}, "decision_log": {"sink": "none"}}
    with running(configuration(tmp_path, quickstart), {}) as app:
        command = ["ruby", *arguments(ask), app.addresses[0]]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=SECONDS)
    assert done.stdout == printed
