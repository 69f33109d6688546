"""What is measured: interceptors of each language, with payloads as real tools have them, and the right answers.

Payloads have exactly the size that is asked for: JSON around a filler of whole lines, or clauses, and padding.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pdp.cedar.model import EntityUid
from pdp.sandbox.chain import Payload
from pdp.sandbox.model import Phase
from pdp.sandbox.outcome import Interception
from pdp.sandbox.reply import Envelope

ENVELOPE = Envelope(EntityUid("Agent", "agent-7"), "files", "read_text_file", "session-19", "request-402")

#: Where `path_guard` lets tools read and write, here and in Python.
ROOTS = ("/srv/data", "/srv/shared")

_TOKEN = "ghp_0123456789abcdefghijABCDEFGHIJ012345"  # noqa: S105 - made up
_MARKER = "[redacted:github-token]"
#: JSON text, so that the line ends are escapes as in every result of a tool.
_LOG_LINE = "2026-03-04 10:11:12.345 INFO worker-3 items/8812 answered in 41 ms, status 200, cache miss, 3 rows read\\n"
_CLAUSE = " OR (region = 'north' AND total > 100 AND status IN ('open', 'paid'))"


class Frame(NamedTuple):
    """A payload's text: `head`, as much of `unit` as fits, `pad`, and `tail`."""

    head: str
    tail: str
    unit: str = _LOG_LINE
    pad: str = "."

    def filled(self, size: int) -> bytes:
        """`size` bytes, or as few as there can be."""
        room = max(0, size - len(self.head) - len(self.tail))
        filler = self.unit * (room // len(self.unit))
        return f"{self.head}{filler}{self.pad * (room - len(filler))}{self.tail}".encode()


@dataclass(frozen=True, slots=True)
class Subject:
    """One interceptor under measurement, and what it is asked.

    What `replaced` says has to become of the payload, or it has to pass. `config` takes the place of the configuration
    in the binding that the example comes with.
    """

    key: str
    purpose: str
    language: str
    phase: Phase
    frame: Frame
    replaced: tuple[str, str] | None = None
    config: Mapping[str, Any] | None = None

    @property
    def label(self) -> str:
        """Its name in tables."""
        return f"{self.language}: {self.key}"

    def payload(self, size: int) -> Payload:
        """A payload of `size` bytes, or the smallest that there is."""
        text = self.frame.filled(size)
        return Payload(text) if self.phase == "request" else Payload(b'{"path":"reports/2026/q1.txt"}', text)

    def wanted(self, payload: Payload) -> bytes:
        """What has to come out."""
        old, new = self.replaced or ("", "")
        given = current(payload)
        return given.replace(old.encode(), new.encode()) if old else given

    def problem(self, payload: Payload, answer: Interception) -> str:
        """What is wrong with the answer of a chain of this interceptor alone; empty where nothing is."""
        [outcome] = answer.outcomes
        if outcome.verdict == ("transform" if self.replaced else "pass") and answer.payload == self.wanted(payload):
            return ""
        cause = f"{outcome.error_class.value}, " if outcome.error_class else ""
        return (
            f"to {len(current(payload)):,} bytes it answers `{outcome.verdict}`: {cause}{outcome.reason or 'no reason'}"
        )


def current(payload: Payload) -> bytes:
    """What an interceptor judges: the result, or before there is one the arguments."""
    return payload.arguments if payload.result is None else payload.result


def _result(text: str = "") -> Frame:
    return Frame(f'{{"content":[{{"type":"text","text":"{text}', '"}]}')


def _arguments(known: Mapping[str, Any], filled: str) -> Frame:
    # Without blanks, as every module writes what it changes.
    return Frame(f'{json.dumps(known, separators=(",", ":"))[:-1]},"{filled}":"', '"}')


_PATH = "/srv/data/reports/2026/q1.txt"
_ODD_PATH = " reports/../reports/2026/q1.txt"
_FILE = {"path": _PATH, "encoding": "utf-8", "append": False}
_CALL = {"url": "https://api.example.com/v1/items?limit=20&sort=name", "method": "POST"}
_QUERY = Frame('{"sql": "SELECT id, total FROM orders WHERE region = \'south\'', '"}', _CLAUSE, " ")
_TEXT = _arguments(_FILE, "content")
_RULES = [
    {"argument": "path", "steps": ["trim", "nfc", "path"], "root": "/srv/data"},
    {"argument": "encoding", "steps": ["trim", "lower"], "default": "utf-8"},
]

PASSING = Subject("pass", "pass", "WAT", "request", _TEXT)

_SUBJECTS = (
    PASSING,
    Subject("redact_secrets", "redact_secrets", "Rust", "response", _result()),
    Subject(
        "redact_secrets found",
        "redact_secrets",
        "Rust",
        "response",
        _result(f"remote: signed in with {_TOKEN}, accepted\\n"),
        replaced=(_TOKEN, _MARKER),
    ),
    Subject("path_guard", "path_guard", "AssemblyScript", "request", _TEXT, config={"roots": list(ROOTS)}),
    Subject("sql_guard", "sql_guard", "C", "request", _QUERY),
    Subject("risk_score", "risk_score", "Zig", "request", _TEXT),
    Subject(
        "egress_guard",
        "egress_guard",
        "Go",
        "request",
        _arguments(_CALL, "body"),
        config={"url_arguments": ["url"]},
    ),
    Subject("prompt_injection", "prompt_injection", "JavaScript", "response", _result()),
    Subject(
        "normalize_arguments",
        "normalize_arguments",
        "Python",
        "request",
        _arguments({**_FILE, "path": _ODD_PATH}, "content"),
        replaced=(_ODD_PATH, _PATH),
        config={"rules": _RULES},
    ),
)
SUBJECTS: Mapping[str, Subject] = {subject.key: subject for subject in _SUBJECTS}
