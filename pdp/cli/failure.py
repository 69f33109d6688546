"""The one error of the command line."""

from __future__ import annotations

from collections.abc import Mapping

from pdp.errors import PdpError


class CommandError(PdpError):
    """A command cannot do what was asked; the exit status is 2, or 1 where that itself is the answer.

    `message` is for people, `facts` are for programs: what `--json` says besides the message.
    """

    def __init__(self, message: str, facts: Mapping[str, str] | None = None, status: int = 2) -> None:
        super().__init__(message)
        self.message = message
        self.facts = dict(facts or {})
        self.status = status
