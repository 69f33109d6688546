"""AuthZEN's searches over real HTTP: which tools could be called, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from pdp.servicers.gateways.authzen_mapping import MappingOptions
from tests.bundles import PERMIT_ALL, manifest, tool
from tests.gateways.authzen_service import (
    EVALUATION,
    POLICIES,
    SEARCH_ACTION,
    SEARCH_RESOURCE,
    AuthZenService,
    asked,
    called,
    serving,
)


@pytest.fixture(scope="module")
def service() -> Iterator[AuthZenService]:
    with serving(POLICIES) as found:
        yield found


def found(service: AuthZenService, path: str = SEARCH_RESOURCE, **more: Any) -> list[Any]:
    document = {
        "subject": {"type": "Agent", "id": "a"},
        "action": {"name": "tools/call"},
        "resource": {"type": "tool"},
        **more,
    }
    answer = service.ask(path, document)
    assert answer.status == 200, answer.body
    assert answer.document.keys() == {"results"}
    results: list[Any] = answer.document["results"]
    return results


def test_tools_that_could_be_called(service: AuthZenService) -> None:
    """A resource search gives the tools of all servers that some call could be allowed for, ready to be asked about."""
    assert found(service) == [{"type": "tool", "id": "srv/read"}, {"type": "tool", "id": "srv/write"}]
    assert found(service, subject={"type": "Agent", "id": "guest"}) == [{"type": "tool", "id": "srv/write"}]
    for result in found(service):
        arguments = {"properties": {"arguments": {"n": 1}}}
        assert service.ask(EVALUATION, {**called(), "resource": {**result, **arguments}}).decision is True


def test_tools_of_one_server(service: AuthZenService) -> None:
    """A server narrows the search, and its tools are then named without it."""
    resource = {"type": "mcp-tool", "properties": {"server": "srv"}}
    expected = [{"type": "mcp-tool", "id": "read"}, {"type": "mcp-tool", "id": "write"}]
    assert found(service, resource=resource) == expected
    with serving(POLICIES, mapping=MappingOptions(server="srv")) as configured:
        assert [result["id"] for result in found(configured)] == ["read", "write"]


def test_nothing_found(service: AuthZenService) -> None:
    """Unknown servers and subjects, and actions that are no call, find nothing."""
    assert found(service, resource={"type": "tool", "properties": {"server": "gone"}}) == []
    assert found(service, action={"name": "tools/list"}) == []


def test_actions_on_a_tool(service: AuthZenService) -> None:
    """An action search on a tool finds its call, if the subject could make one."""
    resource = {"type": "tool", "id": "srv/read"}
    assert found(service, SEARCH_ACTION, resource=resource) == [{"name": "tools/call"}]
    assert found(service, SEARCH_ACTION, resource=resource, subject={"type": "Agent", "id": "guest"}) == []
    assert found(service, SEARCH_ACTION, resource={"type": "tool", "id": "srv/gone"}) == []


@pytest.mark.parametrize(("limit", "pages"), [(1, [1, 1, 1]), (2, [2, 1]), (3, [3]), (10, [3])])
def test_pages(limit: int, pages: list[int]) -> None:
    """Page by page comes what one answer would have, in the same order, and the last page has no token."""
    with serving({**POLICIES, "policies/a.cedar": PERMIT_ALL, "tools/other.json": manifest(tool("read"))}) as service:
        everything, found_sizes, together = found(service), [], []
        token = None
        while token != "":
            page = {"limit": limit} if token is None else {"limit": limit, "token": token}
            document = service.ask(SEARCH_RESOURCE, {**called(), "resource": {"type": "tool"}, "page": page}).document
            found_sizes.append(len(document["results"]))
            together += document["results"]
            token = document["page"].pop("next_token")
            assert document["page"] == {"count": found_sizes[-1], "total": 3}
        assert (found_sizes, together) == (pages, everything)


def test_a_page_of_actions(service: AuthZenService) -> None:
    """An action search has pages too, and a page without a limit is all that is left."""
    document = {**called("srv/read"), "page": {}}
    assert service.ask(SEARCH_ACTION, document).document == {
        "results": [{"name": "tools/call"}],
        "page": {"next_token": "", "count": 1, "total": 1},
    }


@pytest.mark.parametrize(
    ("page", "field"),
    [
        ([], "page"),
        (None, "page"),
        ({"limit": 0}, "page.limit"),
        ({"limit": -1}, "page.limit"),
        ({"limit": 1.5}, "page.limit"),
        ({"limit": "1"}, "page.limit"),
        ({"limit": True}, "page.limit"),
        ({"limit": None}, "page.limit"),
        ({"token": 1}, "page.token"),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", [SEARCH_RESOURCE, SEARCH_ACTION])
def test_mistakes_in_pages(service: AuthZenService, path: str, page: Any, field: str) -> None:
    """A page that is none is a 400, and not a search for everything."""
    error = service.ask(path, {**called(), "page": page}).error
    assert (error["status"], error["field"]) == (400, field)


@pytest.mark.parametrize("path", [SEARCH_RESOURCE, SEARCH_ACTION])
def test_other_searches(service: AuthZenService, path: str) -> None:
    """What this service has no list of is not answered as if there were nothing."""
    error = service.ask(path, asked()).error
    assert (error["status"], error["reason"]) == (501, "UNSUPPORTED_SEARCH")


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        (SEARCH_RESOURCE, "subject"),
        (SEARCH_RESOURCE, "action"),
        (SEARCH_RESOURCE, "resource"),
        (SEARCH_ACTION, "subject"),
        (SEARCH_ACTION, "resource"),
    ],
)
def test_incomplete_searches(service: AuthZenService, path: str, missing: str) -> None:
    """A search without one of its parts is a 400."""
    document = called()
    del document[missing]
    assert service.ask(path, document).error["field"] == missing
