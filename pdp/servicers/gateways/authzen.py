"""The OpenID AuthZEN Authorization API 1.0 over this service's own RPCs.

Every question becomes a `pdp.v1` request to the one DecisionServicer, so that recording, shadow mode, live
definitions, tokens and limits are the same; nothing is decided here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.call import Call
from pdp.errors import InvalidRequestError, PdpError
from pdp.identity.callers import Caller
from pdp.servicers.gateways.authzen_answers import Decision, decision, failed_item, found
from pdp.servicers.gateways.authzen_mapping import (
    MappingOptions,
    Question,
    is_tool_type,
    question,
    searched_server,
    tool_id,
    tool_list,
    tool_of,
)
from pdp.servicers.gateways.authzen_requests import (
    Evaluation,
    Semantic,
    read_action_search,
    read_evaluation,
    read_evaluations,
    read_page,
    read_resource_search,
)

Document = Mapping[str, Any]

#: The decision after which no further question of a list is asked; None asks them all.
_LAST: dict[Semantic, bool | None] = {
    "execute_all": None,
    "deny_on_first_deny": False,
    "permit_on_first_permit": True,
}


class UnsupportedSearchError(PdpError):
    """A search for what this service has no list of."""


class Decisions(Protocol):
    """What this needs of DecisionServicer."""

    def Authorize(self, request: pb.AuthorizeRequest, call: Call, /) -> pb.AuthorizeResponse:
        """One Cedar question."""

    def Decide(self, request: pb.DecideRequest, call: Call, /) -> pb.DecideResponse:
        """Both layers on one tool call."""

    def FilterTools(self, request: pb.FilterToolsRequest, call: Call, /) -> pb.FilterToolsResponse:
        """Which tools of a list the subject could ever call."""


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One HTTP request: its id for the decision log, and until when it has to be answered (`time.monotonic`)."""

    caller: Caller
    request_id: str
    deadline: float

    def time_remaining(self) -> float:
        """As in `Call`."""
        return max(0.0, self.deadline - time.monotonic())


class AuthZen:
    """Answers AuthZEN documents with AuthZEN documents. `tools` gives the pinned tools as (server, name).

    All methods raise InvalidRequestError for a malformed document, and what the RPCs raise.
    """

    def __init__(
        self,
        decisions: Decisions,
        tools: Callable[[], Iterable[tuple[str, str]]],
        options: MappingOptions,
        max_evaluations: int,
    ) -> None:
        self._decisions = decisions
        self._tools = tools
        self._options = options
        self._max_evaluations = max_evaluations

    def evaluation(self, document: Document, call: HttpCall) -> Document:
        """One question."""
        return self._decide(question(read_evaluation(document), self._options, call.request_id), call)

    def evaluations(self, document: Document, call: HttpCall) -> Document:
        """Several questions; a malformed one is denied and leaves the others alone."""
        asked = read_evaluations(document, self._max_evaluations)
        if asked is None:
            return self.evaluation(document, call)
        last = _LAST[asked.semantic]
        questions = [self._question(item, call) for item in asked.items]
        # All of them, before any is decided: a list that the caller may not ask for leaves no decisions behind.
        for item in questions:
            if not isinstance(item, InvalidRequestError):
                call.caller.require_server(item.tool_call.server)
        decisions: list[Decision] = []
        for item in questions:
            decisions.append(self._decide_item(item, call))
            if decisions[-1]["decision"] is last:
                break
        return {"evaluations": decisions}

    def search_resource(self, document: Document, call: HttpCall) -> Document:
        """The tools that the subject could call with some arguments."""
        search, page = read_resource_search(document), read_page(document)
        resource, options = search.resource, self._options
        self._require_tools(search)
        named = searched_server(resource, options)
        known = [
            (server, name) for server, name in self._tools() if search.action.name in (*options.call_actions, name)
        ]
        pinned: dict[str, list[str]] = {}
        for server, name in known:
            if server == named or (not named and _may_ask(call.caller, server)):
                pinned.setdefault(server, []).append(name)
        results = [
            {"type": resource.type, "id": tool_id(server, name, resource, options)}
            for server, names in pinned.items()
            for name in self._callable(search, server, names, call)
        ]
        return found(results, "id", page)

    def search_action(self, document: Document, call: HttpCall) -> Document:
        """What the subject could do with a tool: call it, or nothing."""
        search, page = read_action_search(document), read_page(document)
        self._require_tools(search)
        tool = tool_of(search.resource, self._options)
        names = self._options.call_actions or (tool.name,)
        could = self._callable(search, tool.server, [tool.name], call)
        return found([{"name": name} for name in names] if could else [], "name", page)

    def _question(self, item: Evaluation | InvalidRequestError, call: HttpCall) -> Question | InvalidRequestError:
        if isinstance(item, InvalidRequestError):
            return item
        try:
            return question(item, self._options, call.request_id)
        except InvalidRequestError as error:
            return error

    def _decide(self, asked: Question, call: HttpCall) -> Decision:
        if isinstance(asked, pb.DecideRequest):
            return decision(self._decisions.Decide(asked, call), self._options)
        return decision(self._decisions.Authorize(asked, call), self._options)

    def _decide_item(self, item: Question | InvalidRequestError, call: HttpCall) -> Decision:
        if isinstance(item, InvalidRequestError):
            return failed_item(item, self._options)
        try:
            return self._decide(item, call)
        except InvalidRequestError as error:
            return failed_item(error, self._options)

    def _callable(self, search: Evaluation, server: str, names: list[str], call: HttpCall) -> list[str]:
        request = tool_list(search, server, names, self._options)
        return list(self._decisions.FilterTools(request, call).allowed)

    def _require_tools(self, search: Evaluation) -> None:
        if not is_tool_type(search.resource, self._options):
            known = " or ".join(f"`{name}`" for name in self._options.tool_types) or "none"
            raise UnsupportedSearchError(
                f"`resource.type` is `{search.resource.type}`; only tools can be searched for: {known}"
            )


def _may_ask(caller: Caller, server: str) -> bool:
    return caller.servers is None or server in caller.servers
