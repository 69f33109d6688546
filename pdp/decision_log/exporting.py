"""What the draining thread hands records to."""

from __future__ import annotations

from typing import Protocol

from pdp.decision_log.backlog import Batch


class Exporter(Protocol):
    """A medium for records. Used by one thread. Every method may raise OSError, with a text for the service's log."""

    def export(self, batch: Batch) -> None:
        """Hand over a batch, all of it, and wait until the medium has it.

        After an error the same batch comes again, perhaps by another process. What the medium has already is not to be
        there twice, as far as the medium can tell.
        """

    def sync(self) -> None:
        """Make what was handed over survive a loss of power, as far as that is up to this side."""

    def close(self) -> None:
        """Let go of the medium."""


class ExportError(OSError):
    """The medium did not take a batch, for a reason that is not an error of the operating system."""


class RefusedError(ExportError):
    """The medium took nothing of a batch, and says that this very batch is why: it would not take it later either.

    Whether that is so is found out by `Sieve`.
    """


class RejectedError(ExportError):
    """The medium took a batch but for `count` of its records, does not say which, and wants none of them again."""

    def __init__(self, count: int, cause: str) -> None:
        super().__init__(cause)
        self.count = count
