"""What decides: one bundle, ready for questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cedarpy

from pdp.cedar.arguments import ToolInput
from pdp.cedar.caller_context import CallerContext
from pdp.cedar.entities import EntityStore
from pdp.cedar.index import Rule
from pdp.cedar.model import EntityUid


@dataclass(frozen=True, slots=True)
class CallableTool:
    """A pinned tool as the decision needs it: its action, its server, and how to type its arguments."""

    action: EntityUid
    resource: EntityUid
    input: ToolInput
    #: `definition_digest` of the pinned definition.
    digest: str = ""


@dataclass(frozen=True, slots=True)
class PolicyModel:
    """Everything that decides, immutable: one bundle's rules, entities, schema, tools and context types.

    `principal_types` is None where no schema says who may be a subject of tool calls.
    """

    rules: Sequence[Rule]
    entities: EntityStore
    schema: cedarpy.Schema | None = None
    tools: Mapping[tuple[str, str], CallableTool] = field(default_factory=dict)
    principal_types: frozenset[str] | None = None
    #: The type of `context.on_behalf_of` in the schema; None where there is none.
    on_behalf_of_type: str | None = None
    context: CallerContext = field(default_factory=CallerContext)
