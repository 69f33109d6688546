"""What the pages and examples about gateways show is what works."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from pdp.config import load_config
from tests.examples.sessions import EXAMPLES, GIT_SERVER, ROOT
from tests.gateways.envoy import EXAMPLE, EXT_PROC

PAGES = ROOT / "docs" / "integrations"
SHOWN = [("envoy", EXT_PROC), ("agentgateway", EXAMPLES / "gateways" / "agentgateway" / "config.yaml")]
SETTINGS = [EXAMPLES / "gateways" / name / "pdp.toml" for name in ("agentgateway", "envoy")]


@pytest.mark.parametrize("page", ["envoy", "agentgateway"])
def test_pages_show_configurations_that_load(page: str) -> None:
    """A configuration that a page shows is one, and switches its gateway on."""
    [block] = re.findall(r"^```toml\n(.*?)^```", (PAGES / f"{page}.md").read_text("utf-8"), re.DOTALL | re.MULTILINE)
    config = load_config(None, {}, tomllib.loads(block))
    assert config.envoy.ext_proc == (page == "envoy")
    assert config.agentgateway.enabled == (page == "agentgateway")


@pytest.mark.parametrize("path", SETTINGS, ids=lambda path: path.parent.name)
def test_examples_have_configurations_that_load(path: Path) -> None:
    """The service's configuration of each example loads."""
    load_config(path, {})


@pytest.mark.parametrize(("page", "path"), SHOWN, ids=["envoy", "agentgateway"])
def test_the_page_shows_the_examples_configuration(page: str, path: Path) -> None:
    """What a page shows of its gateway's configuration is in the example, line after line."""
    text = (PAGES / f"{page}.md").read_text("utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    example = [line.strip() for line in path.read_text("utf-8").splitlines()]
    assert blocks
    for block in blocks:
        lines = iter(example)
        assert all(line.strip() in lines for line in block.splitlines()), block


@pytest.mark.slow
@pytest.mark.process
@pytest.mark.usefixtures("real_envoy")
def test_the_demo_prints_what_its_page_shows() -> None:
    """The demo with Envoy and a real server prints what its page says."""
    assert Path(GIT_SERVER).exists()
    text = (EXAMPLE / "README.md").read_text("utf-8")
    [(agent, shown)] = re.findall(r"^\$ \S+python \S+demo.py --agent (\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    command = [sys.executable, str(EXAMPLE / "demo.py"), "--agent", agent]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, cwd=ROOT)
    assert run.stdout == shown


@pytest.mark.process
def test_agentgateways_part_is_played_as_its_page_shows() -> None:
    """The script that asks what agentgateway would ask prints what its page says."""
    text = (EXAMPLES / "gateways" / "agentgateway" / "README.md").read_text("utf-8")
    [(script, shown)] = re.findall(r"^\$ \S+python (\S+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    run = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, timeout=120, cwd=ROOT)
    assert run.stdout == shown
