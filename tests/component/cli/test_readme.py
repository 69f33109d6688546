"""The README's question gets the README's answer."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pdp.cli import main

ROOT = Path(__file__).parents[3]


def test_the_question_of_the_readme_has_its_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """The first command of the README, asked of the quickstart bundle, prints what stands there but for the id."""
    block = re.search(r"```\n\$ (.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    command, _, answer = block.group(1).partition("\nDENY")
    words = shlex.split(command.replace("\\\n", " "))
    assert main([*words[1:], "--bundle", str(ROOT / "examples" / "quickstart")]) == 1
    volatile = re.compile(r"decision [0-9a-f]+,")
    assert volatile.sub("", capsys.readouterr().out) == volatile.sub("", f"DENY{answer}")
