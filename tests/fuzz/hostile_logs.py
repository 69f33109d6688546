"""Lines of decision logs that a seed makes: whole chains, lines that only look like records, and damage."""

from __future__ import annotations

import json
import random

from pdp.decision_log.chain import beginning, linked
from pdp.decision_log.marks import checkpoint_line, gap_line
from tests.fuzz.hostile_json import DAMAGED, NUMBERS, TEXTS, JsonMaker

WRITER = "a" * 32
_KINDS = ("authorize", "checkpoint", "gap", "segment", "intercept", "candidate")
_KEYS = (
    "time", "decision", "code", "subject", "on_behalf_of", "action", "policies", "errors", "caller", "decision_id",
    "lost", "since", "head_seq", "head", "key", "signature", "closing",
)  # fmt: skip
_NUMBERS = ("0", "1", "2", "3", "9", "21", "9223372036854775807", "9999999999999999999", "99999999999999999999")
_TIMES = ("0026-01-02T03:04:05.000000Z", "2026-91-02T03:04:05.000000Z", "9999-12-31T23:59:59.999999Z", "Z")


def good_lines(count: int) -> list[bytes]:
    """A writer's log as it is written: decisions, a gap, and a checkpoint at its end."""
    head, found = beginning(WRITER), []
    for number in range(count):
        text = gap_line(1, number, 1) if number == 3 else _decision(number)
        head, line = linked(head, text)
        found.append(line)
    return [*found, linked(head, checkpoint_line(1, head, None, closing=True))[1]]


def _decision(number: int) -> str:
    return (
        f'{{"kind":"authorize","time":"2026-01-02T03:04:{number:02d}.000000Z","decision":"DENY","code":"FORBIDDEN",'
        f'"subject":{{"type":"Agent","id":"\\ud83d\\ude00"}},"n":{number}}}'
    )


class LogMaker:
    """Makes lines from one source of chance."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._json = JsonMaker(chance)

    def log(self, lines: list[bytes]) -> bytes:
        """These lines, some of them changed, moved, missing, there twice, or with others between them."""
        changed = list(lines)
        for _ in range(self._chance.randint(1, 3)):
            place, kind = self._chance.randrange(len(changed) + 1), self._chance.randrange(4)
            if kind == 0:
                changed.insert(place, self.line())
            elif kind == 1 and place < len(changed):
                changed[place] = self._json.damaged(changed[place])
            elif kind == 2 and place < len(changed):
                changed.append(changed.pop(place))
            elif lines:
                changed.insert(place, self._chance.choice(lines))
        data = b"".join(changed)
        return self._json.damaged(data) if self._chance.randrange(3) == 0 else data

    def line(self) -> bytes:
        """A line that says its place in a chain, whatever else it says."""
        pick = self._chance.choice
        if self._chance.randrange(8) == 0:
            return pick(DAMAGED) + b"\n"
        body = {"kind": pick(_KINDS), "time": pick((*_TIMES, *TEXTS))}
        body |= {pick(_KEYS): pick((self._json.value(), pick(NUMBERS))) for _ in range(self._chance.randrange(4))}
        text = json.dumps(body).encode()
        if self._chance.randrange(8) == 0:
            text = text[:-1] + b',"x":' + b"[" * 5_000 + b"}"
        trailer = f',"writer":"{pick((WRITER, "b" * 32))}","seq":{pick(_NUMBERS)},"hash":"{"0" * 64}"}}\n'
        return text[:-1] + trailer.encode()
