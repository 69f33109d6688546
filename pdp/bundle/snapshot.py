"""A bundle loaded, validated, compiled and immutable."""

from __future__ import annotations

from dataclasses import dataclass, field

from pdp.cedar.authorize import Authorizer
from pdp.cedar.filter_tools import ToolFilter
from pdp.errors import Problem
from pdp.sandbox.chain import Chain
from pdp.shadow import FlipCounts


@dataclass(frozen=True, slots=True)
class BundleCounts:
    """How much of everything a snapshot holds. `policies` counts enforced static policies only."""

    policies: int = 0
    templates: int = 0
    template_links: int = 0
    shadow_policies: int = 0
    entities: int = 0
    servers: int = 0
    tools: int = 0
    interceptors: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What answers calls until a newer one takes its place.

    `parsed` names the files that had to be parsed for it, `schema_text` is the whole Cedar schema (empty for none).
    `flips` counts what its shadow policies would have changed.
    """

    revision: str
    name: str
    origin: str
    counts: BundleCounts
    warnings: tuple[Problem, ...]
    schema_text: str
    authorizer: Authorizer
    tool_filter: ToolFilter
    chain: Chain
    #: Nothing is enforced: everything is allowed, and what would have been decided is reported.
    in_shadow: bool = False
    parsed: tuple[str, ...] = ()
    flips: FlipCounts = field(default_factory=FlipCounts)
