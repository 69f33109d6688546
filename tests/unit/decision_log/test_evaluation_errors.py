"""What a policy's failure writes down holds nothing of what an agent sent."""

from __future__ import annotations

import json
from pathlib import Path

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.decision_log.evaluation_errors import without_values
from tests.bundles import PERMIT_ALL, manifest, tool
from tests.grpc.service import serving, tool_call

TOOL = tool("read", {"n": {"type": "integer"}, "owner": {"type": "string"}})

#: Conditions that fail with a value of the arguments in Cedar's message, and what is written of it.
FAILING = {
    "ip(context.input.owner).isLoopback()": "error while evaluating `ipaddr` extension function",
    'decimal(context.input.owner).lessThan(decimal("1.0"))': "error while evaluating `decimal` extension function",
    'datetime(context.input.owner) < datetime("2020-01-01")': "error while evaluating `datetime` extension function",
    'duration(context.input.owner) < duration("1s")': "error while evaluating `duration` extension function",
    "context.input.n + 9223372036854775807 > 0": "integer overflow while attempting to add",
    "context.input.n * 9223372036854775807 > 0": "integer overflow while attempting to multiply",
    "-9223372036854775807 - context.input.n > 0": "integer overflow while attempting to subtract",
    "principal.getTag(context.input.owner) == 1": 'entity `Agent::"a"` does not exist',
    "context.input.owner > 3": "type error: expected long, got string",
}


@pytest.mark.parametrize("condition", FAILING)
@pytest.mark.parametrize("settings", [{"arguments": "full", "mask": ["$.owner", "$.n"]}, {"arguments": "hash"}])
def test_values_of_arguments_are_in_no_error(tmp_path: Path, condition: str, settings: dict[str, object]) -> None:
    """A policy that fails because of a value says so in the log without the value, masked or not."""
    forbid = f'@id("f") forbid(principal, action, resource) when {{ {condition} }};'
    files = {"policies/a.cedar": f'@id("all") {PERMIT_ALL}\n{forbid}', "tools/srv.json": manifest(TOOL)}
    with serving(tmp_path, files, decision_log=settings) as service:
        service.authorize(tool_call(b'{"owner": "hun`ter2", "n": 777777}'))
        [record] = service.records(1)
    assert record["errors"] == [{"policy": "f", "message": FAILING[condition]}]
    assert "ter2" not in json.dumps(record)
    assert "777777" not in json.dumps(record)


@pytest.mark.parametrize(
    "message",
    [
        "type error: expected long, got string",
        "type error: expected one of [set, (any entity type)], got ipaddr",
        "type error: expected (entity of type `App::User`), got record",
        '`Agent::"a"` does not have the attribute `team`',
        'entity `Agent::"a"` does not exist',
        "record does not have the attribute `owner`",
        "recursion limit reached",
    ],
)
def test_names_and_types_are_written(message: str) -> None:
    """What policies and schemas call things stays."""
    assert without_values(message) == message


#: Arguments that are no arguments of the tool, with a value that is nobody's business.
UNFIT = [
    *(b'{"n": "hunter2"}', b'{"owner": ["hunter2"]}', b'{"owner": {"hunter2x": "hunter2"}}', b'{"n": 4.5e777777}'),
    *(
        b'"hunter2"',
        b'{"owner": hunter2}',
        b'{"owner": "hunter2',
        b'{"owner": "hunter2" 5}',
        b'{"owner": "\\uhunter2"}',
    ),
    *(b'{"owner": "hunter2", "owner": "hunter2"}', b'{"owner": "hunter2\x00"}', b'{"owner": "hunter2"} hunter2'),
]


@pytest.mark.parametrize("arguments", UNFIT)
def test_values_of_arguments_are_in_no_denial(tmp_path: Path, arguments: bytes) -> None:
    """Arguments that do not fit are denied with the place and the kind of what is there, and never with its value."""
    files = {"policies/a.cedar": PERMIT_ALL, "tools/srv.json": manifest(TOOL)}
    settings = {"arguments": "full", "mask": ["$.*"]}
    with serving(tmp_path, files, decision_log=settings) as service:
        service.authorize(tool_call(arguments))
        [record] = service.records(1)
    assert record["code"] == "INVALID_ARGUMENTS"
    assert "hunter2" not in record["message"]
    assert "777777" not in record["message"]


def test_a_tag_may_be_a_value() -> None:
    """Policies compute the names of tags, so these are not written; nor is any message that nobody here knows."""
    assert without_values('`Agent::"a"` does not have the tag `hunter2`') == "evaluation failed"
    assert without_values("the value `hunter2` is something new") == "evaluation failed"


@pytest.mark.parametrize("key", ["hunter2", 'hunter2"` does not have the attribute `a', 'hunter2"` does not exist'])
def test_a_value_that_speaks_as_cedar_does_is_not_written(key: str) -> None:
    """Arguments that continue Cedar's message, so that it looks like one without values, do not get into the log."""
    principal = {"type": "User", "id": 'a"`\\'}
    result = cedarpy.is_authorized(
        {
            "principal": principal,
            "action": {"type": "Action", "id": "a"},
            "resource": {"type": "Server", "id": "s"},
            "context": json.dumps({"input": {"key": key}}),
        },
        'permit(principal, action, resource) when { principal.getTag(context.input.key) == "x" };',
        json.dumps([{"uid": principal, "attrs": {}, "parents": []}]),
    )
    [error] = result.diagnostics.errors
    assert "hunter2" in error
    assert "hunter2" not in without_values(error.split("`: ", 1)[1])


@given(st.sampled_from([*FAILING.values(), "record does not have the attribute `", "x"]), st.text(min_size=1))
def test_no_other_text_is_written(begin: str, value: str) -> None:
    """Whatever follows the beginning of a message, no more than that is written of it."""
    mark = f"`:{value}:\x00"
    assert mark not in without_values(begin + mark)
