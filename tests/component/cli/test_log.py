"""`pdp log`: searching and verifying, as people do it."""

from __future__ import annotations

import gzip
import json
import os
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from pdp.cli.log_query import Follower, and_new_ones
from pdp.decision_log.chain import Link, beginning, linked, stated
from pdp.decision_log.marks import Refused, checkpoint_line, gap_line, stub_line
from pdp.decision_log.signing_key import read_signing_key
from pdp.errors import ConfigError

Run = Callable[..., Any]
WRITER, OTHER = "a" * 32, "b" * 32
OWN, OTHERS = os.geteuid(), os.geteuid() + 1


def record(number: int, *, decision: str = "ALLOW", agent: str = "bot", tool: str = "srv/read", **more: Any) -> str:
    """A decision's line."""
    document = {
        "kind": "authorize", "time": f"2026-01-02T03:04:{number:02d}.000000Z", "decision_id": f"d{number}",
        "decision": decision, "code": "" if decision == "ALLOW" else "FORBIDDEN", "message": "\x1b[31mno",
        "subject": {"type": "Agent", "id": agent}, "action": {"type": "Action", "id": tool}, "policies": ["p"], **more,
    }  # fmt: skip
    return json.dumps(document, separators=(",", ":"))


@pytest.fixture
def key(pdp: Run, tmp_path: Path) -> Path:
    """A private key, with its public one beside it."""
    path = tmp_path / "log.pem"
    outcome = pdp("log", "keygen", path)
    assert outcome.status == 0
    assert path.stat().st_mode & 0o777 == 0o600
    path.with_suffix(".pub").write_text(outcome.out)
    return path


@pytest.mark.parametrize(
    ("mode", "owner", "taken"),
    [
        (0o400, OWN, True),
        (0o440, OWN, False),
        (0o604, OWN, False),
        (0o440, OTHERS, True),
        (0o460, OTHERS, False),
        (0o444, OTHERS, False),
    ],
)
def test_a_key_that_others_can_read(key: Path, mode: int, owner: int, taken: bool) -> None:
    """Its group may read a key that belongs to somebody else, as orchestrators hand them over; nobody else may."""
    if owner != OWN and os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    key.chmod(mode)
    os.chown(key, owner, -1)
    if taken:
        read_signing_key(key)
    else:
        with pytest.raises(ConfigError, match="others can read"):
            read_signing_key(key)


def lines(count: int, key: Path | None = None, writer: str = WRITER) -> list[bytes]:
    """A log with a checkpoint at its end."""
    head: Link = beginning(writer)
    found = []
    for number in range(count):
        head, line = linked(head, record(number, decision="DENY" if number == 3 else "ALLOW", agent=f"bot{number % 2}"))
        found.append(line)
    signer = read_signing_key(key) if key is not None else None
    found.append(linked(head, checkpoint_line(1, head, signer, closing=True))[1])
    return found


def test_a_good_log(pdp: Run, tmp_path: Path, key: Path) -> None:
    """Files before a rotation, compressed ones and those of other writers belong to a log, and nothing is wrong."""
    log = tmp_path / "decisions.jsonl"
    text = lines(10, key)
    (tmp_path / "decisions.jsonl.2.gz").write_bytes(gzip.compress(b"".join(text[:3])))
    (tmp_path / "decisions.jsonl.0000000001").write_bytes(b"".join(text[3:6]))
    log.write_bytes(b"".join(text[6:]))
    (tmp_path / "decisions.1.jsonl").write_bytes(b"".join(lines(5, key, OTHER)))
    outcome = pdp("log", "verify", log, "--public-key", key.with_suffix(".pub"), "--json")
    assert outcome.status == 0, outcome
    assert outcome.document["findings"] == []
    assert outcome.document["signatures_checked"]
    assert {each["id"]: each["records"] for each in outcome.document["writers"]} == {WRITER: 11, OTHER: 6}
    assert all(each["closed"] and each["not_yet_vouched_for"] == 0 for each in outcome.document["writers"])
    shown = pdp("log", "verify", log)
    assert shown.status == 0
    assert "signatures were not checked" in shown.out
    assert "nothing is wrong" in shown.out


def test_a_bad_log(pdp: Run, tmp_path: Path, key: Path) -> None:
    """What is wrong is named with file, line, writer and number, and the exit status is 1."""
    log = tmp_path / "decisions.jsonl"
    text = lines(10, key)
    text[4] = text[4].replace(b"ALLOW", b"DENY!")
    del text[6]
    log.write_bytes(b"".join(text))
    outcome = pdp("log", "verify", log, "--public-key", key.with_suffix(".pub"))
    assert outcome.status == 1
    assert f"{log}:5: changed: record 5 of writer {WRITER}: " in outcome.out
    assert f"missing: record 7 of writer {WRITER}: record 7 is missing" in outcome.out
    assert "2 findings" in outcome.out


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"kind":"checkpoint","a":' + "[" * 100_000 + "]" * 100_000 + "}", "changed"),
        ('{"kind":"gap","lost":' + "9" * 4_300 + "}", "changed"),
        ('{"kind":"gap","lost":-7}', "changed"),
        ('{"kind":"gap","lost":true}', "changed"),
    ],
    ids=["deep", "many lost", "less than none lost", "no number"],
)
def test_a_hostile_log_gives_findings(pdp: Run, tmp_path: Path, text: str, kind: str) -> None:
    """What somebody else wrote into the log is found to be wrong, and is no failure of who looks."""
    log = tmp_path / "decisions.jsonl"
    log.write_bytes(linked(beginning(WRITER), text)[1])
    outcome = pdp("log", "verify", log, "--json")
    assert (outcome.status, [each["kind"] for each in outcome.document["findings"]]) == (1, [kind])


def test_a_number_that_no_record_can_have(pdp: Run, tmp_path: Path) -> None:
    """All records up to it are missing, however many these are."""
    log = tmp_path / "decisions.jsonl"
    last = f'{{"kind":"authorize","writer":"{WRITER}","seq":{10**19 - 1},"hash":"{"0" * 64}"}}\n'
    log.write_bytes(b"".join(lines(1)) + last.encode())
    outcome = pdp("log", "verify", log)
    assert outcome.status == 1
    assert f"records 3 to {10**19 - 2} are missing" in outcome.out


def test_a_compressed_file_that_is_damaged(pdp: Run, tmp_path: Path) -> None:
    """It cannot be read, which is a failure with a cause."""
    log = tmp_path / "decisions.jsonl.1.gz"
    log.write_bytes(gzip.compress(b"".join(lines(3)))[:10] + b"\xff" * 100)
    outcome = pdp("log", "verify", log)
    assert (outcome.status, outcome.out) == (2, "")
    assert "the log cannot be read: " in outcome.err


def test_a_log_with_a_refused_record(pdp: Run, tmp_path: Path) -> None:
    """What the sink refused is counted where the chain names it, shown when asked for, and else it is missing."""
    log = tmp_path / "decisions.jsonl"
    text = lines(3)[:-1]
    place, last = stated(text[1][:-1]), stated(text[2][:-1])
    assert place is not None
    assert last is not None
    gap = gap_line(1, 1, 1, Refused(WRITER, 2, 2, place.hash, "too large"))
    text[1] = stub_line(1, place, "\x1b[31mtoo large")
    log.write_bytes(b"".join(text))
    outcome = pdp("log", "verify", log)
    assert outcome.status == 1
    assert f"{log}:2: missing: record 2 of writer {WRITER}: record 2 is missing: a line in its place" in outcome.out
    log.write_bytes(b"".join([*text, linked(last, gap)[1]]))
    outcome = pdp("log", "verify", log)
    assert outcome.status == 0
    assert "1 record refused by the sink" in outcome.out
    assert "record 2 refused by the sink: " in (shown := pdp("log", "query", log).out)
    assert "\x1b" not in shown


def test_what_cannot_be_read(pdp: Run, tmp_path: Path, key: Path) -> None:
    """A file that is not there, a key that is none, and a log without records are failures, not findings."""
    log = tmp_path / "decisions.jsonl"
    assert pdp("log", "verify", log).status == 2
    log.write_bytes(b"")
    assert pdp("log", "verify", log).status == 2
    log.write_bytes(b"".join(lines(1)))
    assert pdp("log", "verify", log, "--public-key", log).status == 2
    assert pdp("log", "query", tmp_path / "absent").status == 2
    assert pdp("log", "keygen", key).status == 2  # never overwrites
    assert pdp("log", "query", log, "--since", "yesterday").status == 2


def test_a_search_passes_over_what_has_another_type(pdp: Run, tmp_path: Path) -> None:
    """A record whose fields are not what they are in records keeps nobody from finding those behind it."""
    log = tmp_path / "decisions.jsonl"
    odd = linked(beginning(OTHER), '{"kind":"authorize","errors":5,"policies":7,"action":[]}')[1]
    log.write_bytes(odd + b"".join(lines(3)))
    searched = pdp("log", "query", log, "--policy", "p", "--json")
    assert (searched.status, searched.out.count("\n")) == (0, 3), searched


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ((), [0, 1, 2, 3, 4]),
        (("--decision", "deny"), [3]),
        (("--code", "FORBIDDEN"), [3]),
        (("--subject", 'Agent::"bot1"'), [1, 3]),
        (("--subject", 'Agent::"bot1"', "--decision", "allow"), [1]),
        (("--tool", "srv/*"), [0, 1, 2, 3, 4]),
        (("--tool", "other/*"), []),
        (("--policy", "p", "--since", "2026-01-02T03:04:02Z"), [2, 3, 4]),
        (("--until", "2026-01-02T04:04:01+01:00"), [0]),
        (("--id", "d2"), [2]),
        (("--caller", "x"), []),
        (("--kind", "authorize"), [0, 1, 2, 3, 4]),
    ],
)
def test_queries(pdp: Run, tmp_path: Path, options: tuple[str, ...], found: list[int]) -> None:
    """Conditions are combined; checkpoints are not among what is shown."""
    log = tmp_path / "decisions.jsonl"
    log.write_bytes(b"".join(lines(5)))
    outcome = pdp("log", "query", log, *options, "--json")
    assert [json.loads(line)["decision_id"] for line in outcome.out.splitlines()] == [f"d{number}" for number in found]
    assert outcome.status == (0 if found else 1)


def test_records_for_people(pdp: Run, tmp_path: Path) -> None:
    """A record is one line, without anything that a terminal could act on; what is no record is told."""
    log = tmp_path / "decisions.jsonl"
    head, first = linked(beginning(WRITER), record(1, decision="DENY", agent="\x1b[2Jevil"))
    log.write_bytes(first + b"\xffnonsense\n[1]\n" + linked(head, gap_line(5_000, 17, 1_000))[1])
    outcome = pdp("log", "query", log)
    denied, gap = outcome.out.splitlines()
    assert denied == '2026-01-02T03:04:01.000000Z DENY Agent::"\\x1b[2Jevil" srv/read FORBIDDEN by p'
    assert gap.endswith("GAP 17 records lost since 1970-01-01T00:00:00.000001Z")
    assert outcome.err.count("a line is no record") == 2


def test_following_goes_on_after_a_rotation(tmp_path: Path) -> None:
    """Lines that come are there once each, also those before and after the file was renamed, and only whole ones."""
    log = tmp_path / "decisions.jsonl"
    log.write_bytes(b"old\n")
    with closing(Follower(log)) as follower:
        _follow(follower, log)


def _follow(follower: Follower, log: Path) -> None:
    aside = log.with_name("decisions.jsonl.0000000001")
    assert follower.new_lines() == []
    with log.open("ab") as file:
        file.write(b"one\ntw")
        file.flush()
        assert follower.new_lines() == [b"one"]
        file.write(b"o\n")
    log.rename(aside)
    assert follower.new_lines() == [b"two"]
    with aside.open("ab") as file:
        file.write(b"three\n")
    log.write_bytes(b"four\n")
    assert follower.new_lines() + follower.new_lines() == [b"three", b"four"]


def test_following_goes_on_after_the_file_was_emptied(tmp_path: Path) -> None:
    """What is written after somebody copied and emptied the file is there, and half a line from before it is not."""
    log = tmp_path / "decisions.jsonl"
    with log.open("ab", buffering=0) as file, closing(Follower(log)) as follower:
        file.write(b"one\nhalf")
        assert follower.new_lines() == [b"one"]
        os.truncate(log, 0)
        assert follower.new_lines() == []
        file.write(b"two\n")
        assert follower.new_lines() == [b"two"]


def test_what_comes_at_the_start_is_told_once(tmp_path: Path) -> None:
    """A line that is written after the file was opened to be followed, and before it was read, is not told again."""
    log = tmp_path / "decisions.jsonl"
    first, second, third = lines(3)[:3]
    log.write_bytes(first)

    def read() -> Iterator[bytes]:
        with log.open("ab") as file:
            file.write(second)
        yield from log.read_bytes().splitlines(keepends=True)
        with log.open("ab") as file:
            file.write(third)

    found = and_new_ones(read(), Namespace(follow=True, paths=[str(log)]))
    assert [line.rstrip() for line in islice(found, 3)] == [line.rstrip() for line in (first, second, third)]
