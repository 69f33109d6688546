"""Pinned, seeded workloads: a world of servers, tools, roles and agents of any size, and requests to it.

Everything follows from the sizes and the seeds below, so two runs ask the same questions of the same bundles. At every
size a request has the same five candidate policies: one over everything, one of its server, three of its tool that can
concern the agent. What a request must be answered is known here, so every measured answer can be checked.
"""

from __future__ import annotations

import json
import random
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal, NamedTuple

#: What kind of rule it is; `bundle_files` and `cerbos` each write it in their own language, `tenant` only the first.
RuleKind = Literal["level", "blocked", "reader", "writer", "secrets", "auditor", "guest", "tenant"]

Pattern = Literal["hot", "uniform"]

#: What a request is about: the rule that answers it, or none.
RequestKind = Literal["reader", "writer", "secrets", "none"]

TOOLS = (
    "create_issue", "get_issue", "list_issues", "update_issue", "add_comment",
    "create_branch", "list_branches", "get_file", "put_file", "search_code",
    "open_pull_request", "merge_pull_request", "list_reviews", "request_review", "run_workflow",
    "cancel_workflow", "list_releases", "create_release", "get_user", "list_teams",
)  # fmt: skip
TOOL_RULES: tuple[RuleKind, ...] = ("reader", "writer", "secrets", "auditor")
ROLES = ("reader", "writer", "auditor")

#: Numbers above this are what readers may ask for; the numbers of requests are above it.
LOWEST_ISSUE = 1_000

_MOST_DEPARTMENTS = 16
_AGENTS_PER_TEAM = 60
#: How skewed `hot` requests are, over tools and over agents: the n-th most popular is asked for n**-1.1 as often.
_ZIPF = 1.1
_SHUFFLE_SEED = 7
_KINDS: Sequence[RequestKind] = ("reader", "writer", "secrets", "none")
_KIND_WEIGHTS = (14, 4, 1, 1)
_BODY = "steps to reproduce: open the page, press the button twice, wait; expected nothing, got a stack trace "


class Rule(NamedTuple):
    """One policy: of everything (`server` is None), of a server, or of the tool with this number on it.

    `value` tells the rules of kind `tenant` apart.
    """

    kind: RuleKind
    server: int | None = None
    tool: int | None = None
    value: int = 0


class Tool(NamedTuple):
    """The tool with this number (into `TOOLS`) on the server with this number."""

    server: int
    number: int


class Request(NamedTuple):
    """One call. `answer` is the code it must be denied with, empty where it must be allowed."""

    agent: int
    tool: Tool
    arguments: bytes
    answer: str


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a world is: `policies` counts rules, `entities` agents and roles.

    With `one_tool` all rules that a tool does not have anyway are of the same tool, each for another tenant.
    """

    policies: int
    entities: int
    departments: int = _MOST_DEPARTMENTS
    one_tool: bool = False


class World:
    """Servers of twenty tools, departments that own servers, agents in teams that have their department's roles."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.rules, self.tools = _rules(sizes.policies, one_tool=sizes.one_tool)
        self._tenants = sum(rule.kind == "tenant" for rule in self.rules)
        self.servers = max(tool.server for tool in self.tools) + 1
        self.departments = min(sizes.departments, self.servers)
        self.teams = self.departments * max(1, sizes.entities // (_AGENTS_PER_TEAM * self.departments))
        self.agents = sizes.entities - self.teams - len(ROLES) * self.departments
        if self.agents < self.departments:
            raise ValueError(f"{sizes.entities} entities are too few for {self.departments} departments")
        # Popular tools lie on servers all over the world, not on the first ones.
        self._popular = random.Random(_SHUFFLE_SEED).sample(self.tools, len(self.tools))  # noqa: S311 - not a secret
        self._tool_weights = _zipf(len(self.tools))
        self._agent_weights = _zipf(-(-self.agents // self.departments))

    def team(self, agent: int) -> int:
        """The team of an agent; both belong to the department that is their number modulo `departments`."""
        rounds = self.teams // self.departments
        return agent % self.departments + self.departments * (agent // self.departments % rounds)

    def requests(self, pattern: Pattern, seed: int, count: int) -> list[Request]:
        """`count` calls that agents may ask for, no two with the same arguments."""
        random_ = random.Random(f"{pattern} {seed}")  # noqa: S311 - not a secret
        found: list[Request] = []
        for number in range(count):
            tool, place = self._tool_and_place(pattern, random_)
            agent = tool.server % self.departments + self.departments * place
            [kind] = random_.choices(_KINDS, _KIND_WEIGHTS)
            arguments = self.arguments(tool, kind, random_.randrange(10**6) * 10**6 + number)
            found.append(Request(agent, tool, arguments, _ANSWERS[kind]))
        return found

    def arguments(self, tool: Tool, kind: RequestKind, number: int) -> bytes:
        """A call's arguments that the rule `kind` answers; `number` makes them distinct where policies look."""
        owner = f"acme-{tool.server % self.departments}" if kind in ("reader", "secrets") else f"other-{number}"
        if kind == "reader" and self._tenants:
            owner = f"tenant-{number % self._tenants}"
        repos = {"writer": f"team-{number}", "secrets": f"secrets-{tool.server}"}
        document = {
            "owner": owner,
            "repo": repos.get(kind, f"service-{number % 97}"),
            "issue_number": LOWEST_ISSUE + 1 + number,
            "title": f"the button of page {number} fails",
            "body": _BODY,
            "labels": ["bug", "ui"],
        }
        return json.dumps(document).encode()

    def _tool_and_place(self, pattern: Pattern, random_: random.Random) -> tuple[Tool, int]:
        """A tool, and which of the agents of its department calls it."""
        hot = pattern == "hot"
        tool = self._popular[_pick(self._tool_weights, random_)] if hot else random_.choice(self.tools)
        # Departments differ by one agent at most, where the agents do not divide evenly.
        members = -(-(self.agents - tool.server % self.departments) // self.departments)
        place = _pick(self._agent_weights, random_) if hot else random_.randrange(members)
        return tool, min(place, members - 1)


_ANSWERS: dict[RequestKind, str] = {
    "reader": "",
    "writer": "",
    "secrets": "FORBIDDEN",
    "none": "NO_MATCHING_POLICY",
}


def server_name(server: int) -> str:
    """A server's name, in every language."""
    return f"forge-{server:04d}"


def _rules(count: int, *, one_tool: bool) -> tuple[list[Rule], list[Tool]]:
    """Exactly `count` rules, and the tools that have all of theirs."""
    if count < 2 + len(TOOL_RULES):
        raise ValueError(f"{count} policies are too few for one tool")
    rules = [Rule("level")]
    tools: list[Tool] = []
    server = 0
    while count - len(rules) > len(TOOL_RULES) and not (one_tool and tools):
        rules.append(Rule("blocked", server))
        for number in range(min(1 if one_tool else len(TOOLS), (count - len(rules)) // len(TOOL_RULES))):
            tools.append(Tool(server, number))
            rules.extend(Rule(kind, server, number) for kind in TOOL_RULES)
        server += 1
    # The few that are left concern nobody who asks, unless it is they that are measured.
    kind: RuleKind = "tenant" if one_tool else "guest"
    rules.extend(Rule(kind, *tools[number % len(tools)], value=number) for number in range(count - len(rules)))
    return rules, tools


def _zipf(count: int) -> list[float]:
    return list(accumulate(rank**-_ZIPF for rank in range(1, count + 1)))


def _pick(weights: Sequence[float], random_: random.Random) -> int:
    return min(bisect_left(weights, random_.random() * weights[-1]), len(weights) - 1)
