"""Files with secrets are taken only where nobody else can read them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydantic import SecretStr

from pdp.config import load_config
from pdp.decision_log.nats_exporter import opener
from pdp.decision_log.signing_key import read_signing_key, write_new_key
from pdp.decision_log_config import SECRETS, DecisionLogConfig
from pdp.errors import ConfigError
from pdp.observing.tracing import make_tracer
from pdp.secret_files import others_can_read
from pdp.telemetry.metrics import Metrics
from pdp.telemetry_config import TelemetryConfig
from pdp.tls import TlsFiles
from tests.certificates import Authority


def _tls_key(directory: Path, prepare: Callable[[Path], None]) -> None:
    certificate, key = map(Path, Authority().issue("127.0.0.1").write(directory, "server"))
    prepare(key)
    TlsFiles(certificate, key, None).read()


def _trace_headers(directory: Path, prepare: Callable[[Path], None]) -> None:
    path = directory / "headers"
    path.write_text("authorization: Bearer hunter2\n")
    prepare(path)
    config = TelemetryConfig(otlp_endpoint="http://127.0.0.1:9", otlp_headers_file=path)
    with ExitStack() as stack:
        make_tracer(config, Metrics(), stack)


def _nats(directory: Path, prepare: Callable[[Path], None], key: str) -> None:
    path = directory / "secret"
    path.write_text("hunter2\n")
    prepare(path)
    found = {"sink": "nats", "nats_servers": ["nats://127.0.0.1:9"], "nats_subject": "log", key: path}
    opener(DecisionLogConfig.model_validate(found))


def _signing_key(directory: Path, prepare: Callable[[Path], None]) -> None:
    path = directory / "key"
    write_new_key(path)
    prepare(path)
    read_signing_key(path)


def _configuration(directory: Path, prepare: Callable[[Path], None], text: str) -> None:
    path = directory / "pdp.toml"
    path.write_text(f"[decision_log]\n{text}\n")
    prepare(path)
    load_config(path, {})


#: Each takes a file with a secret, once something was done to it.
FILES: dict[str, Callable[[Path, Callable[[Path], None]], None]] = {
    "server.tls_key": _tls_key,
    "telemetry.otlp_headers_file": _trace_headers,
    "decision_log.nats_credentials": lambda directory, prepare: _nats(directory, prepare, "nats_credentials"),
    "decision_log.nats_nkey_seed": lambda directory, prepare: _nats(directory, prepare, "nats_nkey_seed"),
    "decision_log.signing_key": _signing_key,
    "nats_password": lambda directory, prepare: _configuration(
        directory, prepare, 'nats_user = "u"\nnats_password = "hunter2"'
    ),
    "nats_token": lambda directory, prepare: _configuration(directory, prepare, 'nats_token = "hunter2"'),
    "otlp_headers": lambda directory, prepare: _configuration(
        directory, prepare, 'otlp_headers = {authorization = "hunter2"}'
    ),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o602, 0o601, 0o444])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, name: str, mode: int) -> None:
    """A file of this user that others can read, or write, is a mistake that names the file, and not what is in it."""
    with pytest.raises(ConfigError, match="that others can read") as caught:
        FILES[name](tmp_path, lambda path: path.chmod(mode))
    assert str(tmp_path) in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_secret_of_this_user_is_taken(tmp_path: Path, name: str, mode: int) -> None:
    """A file that only this user can read is taken."""
    FILES[name](tmp_path, lambda path: path.chmod(mode))


def test_a_configuration_without_secrets_may_be_read(tmp_path: Path) -> None:
    """What is no secret, or is given in the environment, makes no demands on the file."""
    path = tmp_path / "pdp.toml"
    path.write_text('[decision_log]\nnats_user = "u"\n')
    path.chmod(0o644)
    config = load_config(path, {"PDP_DECISION_LOG__NATS_PASSWORD": "secret"})
    assert config.decision_log.nats_password.get_secret_value() == "secret"


def test_every_secret_of_the_configuration_is_known() -> None:
    """The keys that make a configuration secret are those whose values are never shown."""
    fields = DecisionLogConfig.model_fields.items()
    assert {name for name, field in fields if SecretStr.__name__ in repr(field.annotation)} == set(SECRETS)


@pytest.mark.parametrize(
    ("mode", "mine", "refused"),
    [
        (0o600, True, False),
        (0o640, True, True),
        (0o604, True, True),
        (0o440, False, False),
        (0o640, False, False),
        (0o444, False, True),
        (0o460, False, True),
        (0o450, False, True),
    ],
)
def test_whose_file_it_is(mode: int, mine: bool, refused: bool) -> None:
    """Somebody else's file may be readable for its group, which is how an orchestrator hands a secret over."""
    owner = os.geteuid() if mine else os.geteuid() + 1
    assert others_can_read(os.stat_result((0o100000 | mode, 0, 0, 1, owner, 0, 0, 0, 0, 0))) is refused
