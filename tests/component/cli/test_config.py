"""`pdp config`, and the configuration as users meet it."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from pdp.cli.config import shown, toml_text
from pdp.config import Config, load_config
from pdp.errors import ConfigError

Run = Callable[..., Any]


def test_it_says_the_same(pdp: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed is a configuration file that amounts to what was in effect."""
    (tmp_path / "pdp.toml").write_text('[server]\nlisten = ["[::1]:0", "unix:/x"]\n[bundle]\nsource = "a b"\n')
    environment = {"PDP_SERVER__DRAIN_SECONDS": "2.5", "PDP_BUNDLE__LAST_GOOD_DIR": "", "PDP_BUNDLE__WATCH": "false"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    outcome = pdp("config", "--config", tmp_path / "pdp.toml")
    assert (outcome.status, outcome.err) == (0, "")
    (tmp_path / "printed.toml").write_text(outcome.out)
    config = load_config(tmp_path / "pdp.toml", environment)
    assert config.server.drain_seconds == 2.5
    assert config.bundle.last_good_dir == ""
    assert load_config(tmp_path / "printed.toml", {}) == config


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(
    text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
    numbers=st.tuples(st.floats(0, 86_400), st.integers(1, 2**40)),
    switch=st.booleans(),
)
def test_any_value_comes_back(tmp_path: Path, text: str, numbers: tuple[float, int], switch: bool) -> None:
    """Whatever the values are, the printed file is TOML that is read back to the same, and prints nothing raw."""
    flags = {
        "server": {"listen": [f"unix:{text}"], "drain_seconds": numbers[0], "reflection": switch},
        "bundle": {"source": text, "last_good_dir": text},
        "limits": {"batch_requests": numbers[1]},
    }
    config = load_config(None, {}, flags)
    printed = toml_text(config)
    assert all(line.isprintable() for line in printed.split("\n"))
    (tmp_path / "printed.toml").write_text(printed, "utf-8")
    assert load_config(tmp_path / "printed.toml", {}) == config


def test_json(pdp: Run) -> None:
    """With `--json` the same values are one object."""
    assert load_config(None, {}, pdp("config", "--json").document) == Config()


class Signing(BaseModel):
    """A made-up section with secrets, as a section may have them."""

    key: SecretStr
    more: dict[str, SecretStr | int]
    several: tuple[SecretStr, ...]


class WithSecrets(Config):
    """A configuration with that section."""

    signing: Signing


def test_secrets_are_masked() -> None:
    """Whatever has the type of a secret is masked, at any depth, in both forms, and the rest is not."""
    values = {"key": "s3cret-1", "more": {"a": "s3cret-2", "b": 7}, "several": ["s3cret-3"]}
    config = WithSecrets(signing=Signing.model_validate(values))
    for text in (toml_text(config), str(shown(config))):
        assert "s3cret" not in text
    assert tomllib.loads(toml_text(config))["signing"]["more"] == {"a": "**********", "b": 7}


def test_flags_environment_file_defaults(tmp_path: Path) -> None:
    """Flags win over the environment, the environment over the file, the file over the defaults."""
    (tmp_path / "pdp.toml").write_text("[server]\nthreads = 5\ndrain_seconds = 5\nreflection = false\n")
    environment = {"PDP_SERVER__THREADS": "6", "PDP_SERVER__DRAIN_SECONDS": "6"}
    server = load_config(tmp_path / "pdp.toml", environment, {"server": {"threads": "7"}}).server
    assert (server.threads, server.drain_seconds, server.reflection, server.socket_mode) == (7, 6.0, False, "660")


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("127.0.0.1:1", ["127.0.0.1:1"]),
        ("[::1]:7437", ["[::1]:7437"]),
        ('["127.0.0.1:1", "unix:/x"]', ["127.0.0.1:1", "unix:/x"]),
        ("['unix:/x']", ["unix:/x"]),
    ],
)
def test_lists_in_the_environment(text: str, addresses: list[str]) -> None:
    """A list is written as in TOML, and a single item may stand alone, also one that begins with a bracket."""
    assert list(load_config(None, {"PDP_SERVER__LISTEN": text}).server.listen) == addresses


MISTAKES = """
[server]
listen = ["0.0.0.0:1", "::1:80", "127.0.0.1:99999"]
threads = "many"
thread = 4
[bundle]
source = ""
[decision_log]
sink = "files"
[nonsense]
a = 1
"""


def test_all_mistakes_at_once(pdp: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every mistake of file and environment is told in one run, with the key and the user's words; in JSON too."""
    (tmp_path / "pdp.toml").write_text(MISTAKES)
    monkeypatch.setenv("PDP_SERVER__WORKER", "4")
    monkeypatch.setenv("PDP_TYPO", "4")
    outcome = pdp("config", "--config", tmp_path / "pdp.toml")
    assert (outcome.status, outcome.out) == (2, "")
    expected = [
        "`PDP_SERVER__WORKER` is not a configuration key",
        "`PDP_TYPO` is not a configuration key",
        "`server.listen`: `0.0.0.0:1` can be reached from other machines",
        "`server.listen`: `::1:80` is not an address",
        "`server.listen`: `127.0.0.1:99999` is not an address",
        "`server.threads` is `many`: ",
        "`server.thread` is not a configuration key",
        "`bundle.source`: is empty",
        "`decision_log.sink` is `files`: input should be `stdout`, `file`, `otlp`, `nats` or `none`",
        "`nonsense` is not a configuration key",
    ]
    lines = outcome.err.splitlines()
    assert len(lines) == len(expected)
    assert all(any(line.startswith(f"error: {start}") for line in lines) for start in expected)
    problems = pdp("config", "--config", tmp_path / "pdp.toml", "--json").document["error"]["problems"]
    assert [f"error: {problem}" for problem in problems] == lines


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "cannot be read: no such file or directory"), (b"x = \xff", "is not valid TOML"), (b"x", "is not valid")],
)
def test_files_that_cannot_be_read(pdp: Run, tmp_path: Path, content: bytes | None, complaint: str) -> None:
    """A configuration file that is missing or no TOML ends with 2."""
    if content is not None:
        (tmp_path / "pdp.toml").write_bytes(content)
    outcome = pdp("config", "--config", tmp_path / "pdp.toml")
    assert outcome.status == 2
    assert f"`{tmp_path / 'pdp.toml'}` {complaint}" in outcome.err


def test_the_variable_names_the_file(pdp: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`$PDP_CONFIG` is the file where no flag names one."""
    (tmp_path / "pdp.toml").write_text("[server]\nthreads = 9\n")
    monkeypatch.setenv("PDP_CONFIG", str(tmp_path / "pdp.toml"))
    assert pdp("config", "--json").document["server"]["threads"] == 9


@pytest.mark.parametrize(
    "name",
    ["SERVICE_HOST", "SERVICE_PORT_GRPC", "PORT", "PORT_7437_TCP_ADDR", "ADMIN_SERVICE_HOST", "ADMIN_PORT_80_TCP"],
)
def test_what_kubernetes_sets_is_passed_over(name: str) -> None:
    """A Kubernetes Service called `pdp` puts variables into the environment that are nobody's mistake."""
    assert load_config(None, {f"PDP_{name}": "tcp://10.0.0.1:7437"}) == Config()


@pytest.mark.parametrize("name", ["PDP_SERVER__PORT", "PDP_SERVER_PORTS", "PDP_SERVICE"])
def test_what_only_looks_so_is_a_mistake(name: str) -> None:
    """A variable that is close to one of those is still told."""
    with pytest.raises(ConfigError, match=name):
        load_config(None, {name: "1"})
