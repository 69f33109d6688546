"""Cedar alone, as a yardstick: every candidate policy evaluated for every question, and nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import cedarpy

from bench.bundle_files import agent_name, policy_text
from bench.processes import BenchError
from bench.workloads import TOOLS, World, server_name

#: Questions in one call of cedarpy's, as many as the service asks at once.
_STEP = 100
_READ = ("owner", "repo", "issue_number", "title")


def cedar_alone(world: World, count: int, seed: int) -> float:
    """µs of CPU time for one of `count` distinct questions of one agent about one tool, everything else made before."""
    policies = cedarpy.PolicySet.from_str("\n".join(_candidates(world)))
    entities = cedarpy.Entities.from_json_str(json.dumps(list(_entities(world))))
    questions = [_question(world, seed * count + number) for number in range(count)]
    started = time.thread_time_ns()
    answers = [
        answer
        for start in range(0, count, _STEP)
        for answer in cedarpy.is_authorized_batch(questions[start : start + _STEP], policies, entities)
    ]
    spent = time.thread_time_ns() - started
    if not all(answer.allowed for answer in answers):
        raise BenchError("cedarpy alone gives wrong answers")
    return spent / count / 1000


def _candidates(world: World) -> Iterator[str]:
    """The five policies that the service's index finds."""
    tool = world.tools[0]
    for rule in world.rules:
        of_tool = rule.kind in ("reader", "writer", "secrets") and (rule.server, rule.tool) == tool
        if of_tool or rule.kind == "level" or (rule.kind, rule.server) == ("blocked", tool.server):
            yield policy_text(world, rule, 0)


def _entities(world: World) -> Iterator[dict[str, Any]]:
    tool = world.tools[0]
    server = server_name(tool.server)
    roles = [f"team-{world.team(0)}", "dept-0-reader", "dept-0-writer"]
    groups = ["call_tool", server, "destructive", "open_world"]
    yield _entity("Agent", agent_name(0), {"org": "acme-0", "level": 1}, [("Role", role) for role in roles])
    yield _entity("Action", f"{server}/{TOOLS[tool.number]}", {}, [("Action", group) for group in groups])


def _entity(kind: str, name: str, attributes: dict[str, Any], parents: list[tuple[str, str]]) -> dict[str, Any]:
    uid = {"type": kind, "id": name}
    return {"uid": uid, "attrs": attributes, "parents": [{"type": kind, "id": name} for kind, name in parents]}


def _question(world: World, number: int) -> dict[str, Any]:
    tool = world.tools[0]
    given = json.loads(world.arguments(tool, "reader", number))
    return {
        "principal": {"type": "Agent", "id": agent_name(0)},
        "action": {"type": "Action", "id": f"{server_name(tool.server)}/{TOOLS[tool.number]}"},
        "resource": {"type": "Server", "id": server_name(tool.server)},
        "context": json.dumps({"input": {name: given[name] for name in _READ}}),
    }
