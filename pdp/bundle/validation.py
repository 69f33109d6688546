"""Cedar's validator over a bundle's policies, each against no more of the schema than it can touch.

The validator's work grows with policies times actions: 10,000 policies over 2,500 tools take minutes. A policy whose
scope names its actions can only ever be asked about those, so it is checked against a schema of what the author wrote
and just these tools. A policy open to every action, or to unknown ones, is checked against everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cedarpy

from pdp.bundle.schema_file import BundleSchema
from pdp.cedar.cache import BoundedCache
from pdp.cedar.model import is_action_type
from pdp.cedar.policies import ParsedPolicies, Policy
from pdp.cedar.tool_schema import Tool
from pdp.errors import Problem

#: Small schemas kept: policies about one tool mostly stand together.
_KEPT = 256


class Validator:
    """Validates policies against one bundle's schema."""

    def __init__(self, schema: BundleSchema, tools: Sequence[Tool]) -> None:
        self._schema = schema
        self._tools = {tool.action_id: tool for tool in tools}
        self._groups: dict[str, set[str]] = {}
        for tool in tools:
            for group in tool.groups:
                self._groups.setdefault(group, set()).add(tool.action_id)
        self._small: BoundedCache[frozenset[str], cedarpy.Schema] = BoundedCache(_KEPT)

    def check_file(self, parsed: ParsedPolicies) -> list[Problem]:
        """What is wrong with the policies of one file."""
        policies = parsed.policies
        return [
            Problem(policy.path, policy.line, policy.column, f"policy `{policy.id}`: {message}")
            for number, message in self.check([(policy, policy.text) for policy in policies])
            for policy in [policies[number]]
        ]

    def check(self, policies: Sequence[tuple[Policy, str]]) -> Iterator[tuple[int, str]]:
        """What is wrong with policies, each given with its text, links filled: its number, from 0, and the message."""
        by_tools: dict[frozenset[str] | None, list[int]] = {}
        for number, (policy, _) in enumerate(policies):
            by_tools.setdefault(self._tools_of(policy), []).append(number)
        for tools, numbers in by_tools.items():
            schema = self._schema.schema if tools is None else self._schema_of(tools)
            for place, message in _validate([policies[number][1] for number in numbers], schema):
                yield numbers[place], message

    def _tools_of(self, policy: Policy) -> frozenset[str] | None:
        """The tools that a policy can be asked about or speaks of; None where the whole schema has to judge."""
        if not policy.scope.actions:
            return None
        named: set[str] = set()
        for uid in (*policy.scope.actions, *filter(lambda uid: is_action_type(uid.type), policy.literals)):
            if uid.type != "Action" or not (uid.id in self._tools or uid.id in self._groups):
                return None
            named |= {uid.id} if uid.id in self._tools else self._groups[uid.id]
        return frozenset(named) if 2 * len(named) <= len(self._tools) else None

    def _schema_of(self, names: frozenset[str]) -> cedarpy.Schema:
        schema = self._small.get(names)
        if schema is None:
            try:
                schema = self._schema.only([self._tools[name] for name in sorted(names)])
            except ValueError:
                # What the author wrote refers to tools that are left out.
                schema = self._schema.schema
            self._small.put(names, schema)
        return schema


def _validate(texts: Sequence[str], schema: cedarpy.Schema) -> Iterator[tuple[int, str]]:
    for error in cedarpy.validate_policies("\n".join(texts), schema, release_gil=True).errors:
        # The validator knows the policies by their number in the text.
        number = error.policy_id.removeprefix("policy")
        message = error.error.partition("`, ")[2] if error.error.startswith("for policy `policy") else error.error
        yield int(number) if number.isdigit() else 0, message
