"""The published schema of records, against records of a running service."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jsonschema import Draft202012Validator

from pdp.decision_log.chain import beginning, linked
from pdp.decision_log.marks import Refused, checkpoint_line, gap_line, stub_line

SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "decision-record.schema.json"
VALIDATOR = Draft202012Validator(json.loads(SCHEMA.read_text("utf-8")))
UID = {"type": "T", "id": "i"}
OUTCOME = {"name": "n", "verdict": "failed", "duration_us": 1, "error_class": "TRAP", "reason": "r", "mode": "shadow"}
ANSWER = {"decision": "ALLOW", "code": "", "subject": None, "revision": "r"}


def chained(line: str) -> dict[str, Any]:
    """The line as it stands in the log."""
    record: dict[str, Any] = json.loads(linked(beginning("a" * 32), line)[1])
    return record


def test_it_is_a_schema() -> None:
    """What is published is a valid JSON Schema."""
    Draft202012Validator.check_schema(VALIDATOR.schema)


def test_marks_are_as_published() -> None:
    """Gaps and checkpoints, signed and not, closing and not, are as the schema says."""
    head = linked(beginning("a" * 32), '{"kind":"x"}')[0]
    key = Ed25519PrivateKey.generate()
    lines = [checkpoint_line(1, head, signer, closing=closing) for signer in (key, None) for closing in (True, False)]
    for line in (gap_line(2_000, 3, 1_000), *lines):
        VALIDATOR.validate(chained(line))
    for refused in (Refused("a" * 32, 1, 9, b"", "no"), Refused("a" * 32, 2, 2, bytes(32), '"\x1b\n\u2028')):
        VALIDATOR.validate(chained(gap_line(2_000, 1, 1_000, refused)))
        VALIDATOR.validate(json.loads(stub_line(2_000, head, refused.cause)))


@pytest.mark.parametrize("name", ["kind", "time", "writer", "seq", "hash", "head"])
def test_what_is_missing_is_found(name: str) -> None:
    """A record without what it must have is not one, nor is one with anything else."""
    record = chained(checkpoint_line(1, linked(beginning("a" * 32), '{"kind":"x"}')[0], None, closing=False))
    del record[name]
    assert not VALIDATOR.is_valid(record)
    assert not VALIDATOR.is_valid({**record, "more": 1})
