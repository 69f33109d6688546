"""The keys of the issuers, read again and again by threads in the background; no call ever waits for them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from pdp.identity.algorithms import Algorithm
from pdp.identity.config import IdentityConfig, IssuerConfig
from pdp.identity.jwks import KeySet, KeySetError, read_key_set
from pdp.identity.key_sources import Clock, FileKeySource, KeySource, KeySourceError, UrlKeySource
from pdp.identity.refresh_schedule import RefreshSchedule

#: How often a file is read: it costs next to nothing, and a new key should work at once.
_FILE_SECONDS = 2.0

#: Told the name of an issuer and what is wrong with its keys, whenever that changes.
Report = Callable[[str, Sequence[str]], None]


class KeyTiming(NamedTuple):
    """Seconds between two reads, between two failed ones, and until keys that cannot be read again are dropped."""

    refresh: float
    retry: float
    max_stale: float


class _Read(NamedTuple):
    """What was last read, and when it was last asked for and the answer was the same."""

    document: bytes
    keys: KeySet
    at: float


class IssuerKeys:
    """One issuer's keys: the last ones that could be read, until they are too old. Safe to share between threads.

    `clock` never goes back; `chance` gives random numbers from 0 to 1.
    """

    def __init__(
        self,
        issuer: str,
        source: KeySource,
        algorithms: Collection[Algorithm],
        timing: KeyTiming,
        *,
        clock: Clock = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._issuer = issuer
        self._source = source
        self._algorithms = algorithms
        self._max_stale = timing.max_stale
        self._clock = clock
        self._chance = chance
        self._lock = threading.Condition()
        self._schedule = RefreshSchedule(timing.refresh, timing.retry)
        self._stopped = False
        self._read: _Read | None = None
        self._failure = ""
        #: Set once there has been an attempt.
        self.tried: Final = threading.Event()

    def current(self) -> KeySet | None:
        """The keys that may be used now; None if there are none, or only such that are too old."""
        read = self._read
        return read.keys if read is not None and self._clock() - read.at <= self._max_stale else None

    @property
    def age(self) -> float | None:
        """Seconds since the keys were read; None if they never were."""
        read = self._read
        return None if read is None else self._clock() - read.at

    def want_more(self) -> None:
        """A token names a key that is not there: have them read again, as soon as the schedule allows."""
        with self._lock:
            if self._schedule.hasten(self._clock()):
                self._lock.notify()

    def refresh(self) -> None:
        """Try to read the keys once. Never raises."""
        began = self._clock()
        try:
            document = self._source.read()
            known = self._read
            same = known is not None and known.document == document
            keys = known.keys if known is not None and same else read_key_set(document, self._algorithms)
        except (KeySourceError, KeySetError) as error:
            self._note(None, str(error))
        except Exception as error:  # noqa: BLE001 - the top of a thread: it would end, and the keys would grow old
            self._note(None, f"{type(error).__name__}: {error}")
        else:
            self._note(_Read(document, keys, began), "")
        self.tried.set()

    def _note(self, read: _Read | None, failure: str) -> None:
        with self._lock:
            now = self._clock()
            if read is not None:
                self._read = read
                self._schedule.succeeded(now, self._chance())
            else:
                self._schedule.failed(now, self._chance())
            self._failure = failure

    def problems(self) -> list[str]:
        """What is wrong with the keys; nothing if they were read well."""
        read, failure = self._read, self._failure
        if read is None:
            cause = failure or "they were not read yet"
            return [f"there are no keys of issuer `{self._issuer}`: {cause}"]
        remarks = [f"issuer `{self._issuer}`: {remark}" for remark in read.keys.remarks]
        if not failure:
            return remarks
        age = self._clock() - read.at
        dropped = " and no longer used" if age > self._max_stale else ""
        return [f"keys of issuer `{self._issuer}` are {_age(age)} old{dropped}: {failure}", *remarks]

    def run(self, report: Report) -> None:
        """Keep reading until stopped; for a thread of its own."""
        told: tuple[str, tuple[str, ...]] = ("", ())
        while self._wait():
            self.refresh()
            state = (self._failure, self._read.keys.remarks if self._read else ())
            if state != told:
                report(self._issuer, self.problems())
            told = state

    def _wait(self) -> bool:
        """Wait until the next attempt is due; whether there is to be one."""
        with self._lock:
            while not self._stopped:
                remaining = self._schedule.due - self._clock()
                if remaining <= 0:
                    return True
                self._lock.wait(remaining)
            return False

    def stop(self) -> None:
        """Have `run` return."""
        with self._lock:
            self._stopped = True
            self._lock.notify()


class KeyRing:
    """The keys of every issuer, by its name, and the threads that read them."""

    def __init__(self, keys: Mapping[str, IssuerKeys], patience_seconds: float, report: Report) -> None:
        self._keys = keys
        self._patience_seconds = patience_seconds
        self._threads = [
            threading.Thread(target=each.run, args=(report,), name="issuer-keys", daemon=True) for each in keys.values()
        ]

    def of(self, issuer: str) -> IssuerKeys:
        """The keys of a configured issuer."""
        return self._keys[issuer]

    def start(self) -> None:
        """Begin to read, and wait until each has been tried once, or until that takes too long."""
        for thread in self._threads:
            thread.start()
        end = time.monotonic() + self._patience_seconds
        for keys in self._keys.values():
            keys.tried.wait(max(0.0, end - time.monotonic()))

    def stop(self) -> None:
        """Read no more. An attempt in progress is not waited for longer than it may take."""
        for keys in self._keys.values():
            keys.stop()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(self._patience_seconds)

    def ages(self) -> dict[str, float]:
        """Seconds since the keys of each issuer were read; those that never were are left out."""
        ages = {issuer: keys.age for issuer, keys in self._keys.items()}
        return {issuer: age for issuer, age in ages.items() if age is not None}

    def problems(self) -> list[str]:
        """What is wrong with the keys of any issuer."""
        return [problem for keys in self._keys.values() for problem in keys.problems()]


def make_key_ring(config: IdentityConfig, report: Report = lambda issuer, problems: None) -> KeyRing:
    """The keys for a configuration, not yet read."""
    keys = {issuer.issuer: _issuer_keys(issuer, config) for issuer in config.issuer}
    return KeyRing(keys, config.jwks_timeout_seconds + 1.0, report)


def _issuer_keys(issuer: IssuerConfig, config: IdentityConfig) -> IssuerKeys:
    source: KeySource
    if issuer.jwks_url is not None:
        source = UrlKeySource(issuer.jwks_url, config.jwks_timeout_seconds, issuer.jwks_ca_file)
        timing = KeyTiming(config.jwks_refresh_seconds, config.jwks_retry_seconds, config.jwks_max_stale_seconds)
    else:
        source = FileKeySource(Path(issuer.jwks_file or ""))
        timing = KeyTiming(_FILE_SECONDS, _FILE_SECONDS, config.jwks_max_stale_seconds)
    return IssuerKeys(issuer.issuer, source, issuer.algorithms, timing)


_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def _age(seconds: float) -> str:
    """`3 h`: how long that is, in the largest unit of which it has at least one."""
    length, unit = next((each for each in _UNITS if seconds >= each[0]), (1, "s"))
    return f"{int(seconds // length)} {unit}"
