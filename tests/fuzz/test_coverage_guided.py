"""The readers under coverage-guided fuzzing, where atheris is installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: As in `coverage_guided`, which cannot be imported without atheris.
_SEEDS = {
    "json": b'{"a":[1,2.50,-0.0,"\\u00e9",{"b":null}],"c":1e2}',
    "arguments": b'{"a":"1.2345","b":["x"],"c":true,"d":9223372036854775807,"e":"2024-10-15"}',
    "manifest": b'name = "x"\n[context]\nmfa = "Bool"\n[[interceptor]]\nname = "a"\nmodule = "interceptors/a.wasm"\n'
    b'phases = ["request"]\ntools = ["srv/*"]\n[interceptor.annotations]\nrisk = "Long"\n',
    "reply": b'{"verdict":"transform","arguments":{"a":1},"annotations":{"risk":7},"reason":"x"}',
    "token": b"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.AAAA",
}


@pytest.mark.slow
@pytest.mark.parametrize("reader", _SEEDS)
def test_no_reader_raises_what_it_does_not_say(reader: str, tmp_path: Path) -> None:
    """Guided by what it reaches, no input makes a reader raise anything but its own error or read what is not there."""
    pytest.importorskip("atheris")
    (tmp_path / "seed").write_bytes(_SEEDS[reader])
    seconds = int(float(os.environ.get("PDP_FUZZ_SECONDS", "0")))
    most = [f"-max_total_time={seconds}"] if seconds else ["-runs=20000", "-seed=1"]
    command = [sys.executable, "-m", "tests.fuzz.coverage_guided", reader, *most, "-max_len=400", str(tmp_path)]
    ended = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert ended.returncode == 0, ended.stderr[-4_000:]
