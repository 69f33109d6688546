"""The readers under coverage-guided fuzzing, where atheris is installed."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_TRAILER = b',"writer":"' + b"a" * 32 + b'","seq":%d,"hash":"' + b"0" * 64 + b'"}\n'
#: As in `coverage_guided`, which cannot be imported without atheris.
_SEEDS = {
    "json": b'{"a":[1,2.50,-0.0,"\\u00e9",{"b":null}],"c":1e2}',
    "arguments": b'{"a":"1.2345","b":["x"],"c":true,"d":9223372036854775807,"e":"2024-10-15"}',
    "manifest": b'name = "x"\n[context]\nmfa = "Bool"\n[[interceptor]]\nname = "a"\nmodule = "interceptors/a.wasm"\n'
    b'phases = ["request"]\ntools = ["srv/*"]\n[interceptor.annotations]\nrisk = "Long"\n',
    "reply": b'{"verdict":"transform","arguments":{"a":1},"annotations":{"risk":7},"reason":"x"}',
    "token": b"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.AAAA",
    "configuration": b'[server]\nlisten = ["[::1]:0"]\ndrain_seconds = 1.5\n[[callers.caller]]\nname = "x"\n'
    b'rights = ["decide"]\n[limits]\nmessage_bytes = 0x1000\n',
    "log": b'{"kind":"gap","time":"2","lost":1,"since":"1"' + _TRAILER % 1 + b'{"kind":"checkpoint","time":"3",'
    b'"head_seq":1,"head":"00","closing":true' + _TRAILER % 2,
}


def _require_atheris() -> None:
    if importlib.util.find_spec("atheris") is not None:
        return
    if "REQUIRE_ATHERIS" in os.environ:
        pytest.fail("the package atheris is not installed, and `REQUIRE_ATHERIS` is set")
    pytest.skip("the package atheris is not installed; it has wheels for Linux on x86-64")


@pytest.mark.slow
@pytest.mark.parametrize("reader", _SEEDS)
def test_no_reader_raises_what_it_does_not_say(reader: str, tmp_path: Path) -> None:
    """Guided by what it reaches, no input makes a reader raise anything but its own error or read what is not there."""
    _require_atheris()
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "seed").write_bytes(_SEEDS[reader])
    seconds = int(float(os.environ.get("PDP_FUZZ_SECONDS", "0")))
    most = [f"-max_total_time={seconds}"] if seconds else ["-runs=20000", "-seed=1", "-max_total_time=3"]
    command = [sys.executable, "-m", "tests.fuzz.coverage_guided", reader, *most, "-max_len=600"]
    command += [f"-artifact_prefix={tmp_path}/", str(corpus)]
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environ)
    assert ended.returncode == 0, ended.stderr[-4_000:]
