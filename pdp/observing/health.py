"""Whether calls should come here, and why not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

STOPPING = "the service is stopping"


class Health(NamedTuple):
    """`blocking` says why no calls should come here, `degraded` what else is wrong."""

    blocking: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether calls should come here."""
        return not self.blocking


def health_json(health: Health) -> bytes:
    """What `health_from` reads."""
    return json.dumps(health).encode()


def health_from(text: bytes) -> Health:
    """What `health_json` wrote. Raises ValueError and its kin."""
    blocking, degraded = json.loads(text)
    return Health(tuple(map(str, blocking)), tuple(map(str, degraded)))


def joined_health(workers: Sequence[Health | None]) -> Health:
    """One account of all workers, None for those of which nothing is known: calls may come as long as one is ready."""
    known = [health for health in workers if health is not None]
    silent = [f"worker {index} does not answer" for index, health in enumerate(workers) if health is None]
    degraded = [reason for health in known for reason in health.degraded]
    blocking = [reason for health in known for reason in health.blocking]
    if any(health.ready for health in known):
        return Health((), tuple(dict.fromkeys((*silent, *blocking, *degraded))))
    return Health(tuple(dict.fromkeys((*silent, *blocking))), tuple(dict.fromkeys(degraded)))
