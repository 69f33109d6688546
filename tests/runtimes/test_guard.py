"""What the integrations share: lists, and JSON that is what it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pdp_client import Client, FilterToolsResponse, entity
from pdp_client.integrations import AsyncGuard, DeniedError, Guard, Question, UnavailableError, UnreadableError
from pdp_client.integrations.documents import decoded, encoded
from pdp_client.integrations.manifest import manifest

from tests.bundles import tool
from tests.examples.fake_pdp import serving_fake
from tests.runtimes.conftest import ERASE, READ, SECRET, bundle

CODER = entity("Agent", "coder")

Connect = Callable[..., Client]


def test_a_list_has_only_what_was_asked_about_and_not_hidden() -> None:
    """Names that nobody asked about are not shown, nor is a tool that the answer also hides."""
    answer = FilterToolsResponse(allowed=["ghost", "erase", "read"], hidden=[{"name": "erase"}])  # type: ignore[list-item]
    with serving_fake() as fake, Client(fake.address) as client:
        fake.twists["FilterTools"] = lambda *_: type(_[1]).FromString(answer.SerializeToString())
        assert Guard(client).filter_tools(CODER, "notes", [READ, ERASE]) == ["read"]


def test_both_guards_filter_alike(connect: Connect) -> None:
    """The guard for coroutines shows what the other one shows, with either client."""
    client = connect()
    expected = Guard(client).filter_tools(CODER, "notes", [ERASE, READ, tool("other")])
    assert expected == ["read"]
    assert asyncio.run(AsyncGuard(client).filter_tools(CODER, "notes", [ERASE, READ])) == expected


def test_two_tools_of_one_name_are_no_list(nowhere: Client) -> None:
    """A list in which a name means two tools is refused before anybody is asked."""
    with pytest.raises(UnreadableError, match="two tools have one name"):
        Guard(nowhere).filter_tools(CODER, "notes", [READ, {**READ, "description": "x"}])


def test_context_reaches_the_policies(connect: Connect) -> None:
    """What a question says beside the call is in the policies' context; what the bundle does not declare is refused."""
    forbid = 'forbid (principal, action, resource) unless { context has ticket && context.ticket == "T-1" };'
    files = {**bundle(), "bundle.toml": '[context]\nticket = "String"\n', "policies/b.cedar": forbid}
    guard = Guard(connect(files))

    def decide(context: dict[str, Any] | None) -> Any:
        return guard.decide(Question(CODER, "notes", "read", b'{"path": "a"}', context=context))

    permit = decide({"ticket": "T-1"})
    assert guard.passed(permit, {"a": 1}) == {"a": 1}
    with pytest.raises(DeniedError):
        decide(None)
    with pytest.raises((UnavailableError, DeniedError)):
        decide({"other": 1})


def test_what_is_printed_of_a_question_has_no_arguments_and_no_token(connect: Connect) -> None:
    """Arguments, results and subjects are in no `repr`, and so in no log that has one."""
    arguments = encoded({"path": SECRET}, "the arguments")
    permit = Guard(connect()).decide(Question(CODER, "notes", "read", arguments))
    assert SECRET not in repr(permit)
    assert "coder" not in repr(permit)


@pytest.mark.parametrize(
    "value", [None, True, 0, -1.5, 2**80, "ä\u2028\U0001f600", [], {}, {"a": [{"b": None}]}], ids=repr
)
def test_json_goes_over_and_back(value: object) -> None:
    """What JSON can say comes back as it was."""
    assert decoded(encoded(value, "it"), "it") == value


@pytest.mark.parametrize(
    "text", [b"", b"nul", b"Infinity", b"-1e400", b'{"a": NaN}', b"\xff", b"[" * 100_000, b"1" * 5_000]
)
def test_what_is_no_json_is_not_read(text: bytes) -> None:
    """A text that is no JSON, or has a number that cannot be held, is refused and not approximated."""
    with pytest.raises(UnreadableError):
        decoded(text, "it")


@pytest.mark.parametrize("tools", [[], None, [1], {}, ()], ids=repr)
def test_what_has_no_tools_has_no_manifest(tools: object) -> None:
    """A manifest is made of tools, and of nothing else."""
    with pytest.raises(TypeError):
        manifest(tools)
