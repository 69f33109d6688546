"""AuthZEN's words to this service's and back.

Two mappings. A resource of one of the tool types is an MCP tool, and the question is about a call of it, so it goes
through both layers as `Decide`. Everything else is a Cedar question as it stands: types are entity types, the action's
name is an action's, and it goes to `Authorize`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pdp._gen.pdp.v1 import decision_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.cedar.json_text import canonical_text
from pdp.errors import InvalidRequestError
from pdp.servicers.gateways.authzen_requests import Action, Entity, Evaluation

#: The properties of the action, where policies of the Cedar mapping see them.
ACTION_PROPERTIES = "action_properties"

_AGENT = "agent"
_SESSION = "session_id"
_ARGUMENTS = "arguments"


@dataclass(frozen=True, slots=True)
class MappingOptions:
    """How AuthZEN's names are read."""

    #: Cedar's entity types for AuthZEN's types; one that is not here is an entity type as it is.
    entity_types: Mapping[str, str] = field(default_factory=dict)
    #: The Cedar type of actions.
    action_type: str = "Action"
    #: Types of resources that are MCP tools.
    tool_types: tuple[str, ...] = ("tool", "mcp-tool")
    #: Names of the action that calls a tool; the tool's own name is always one.
    call_actions: tuple[str, ...] = ("tools/call",)
    #: The server of tools that name none; empty: each tool has to.
    server: str = ""
    #: The entity type of `context.agent`, who acts for the subject; empty: the subject itself asks.
    agent_type: str = ""
    #: The type of subjects whose `id` is a token; empty: there are none.
    token_type: str = ""
    #: What becomes of properties: attributes of their entities, or nothing.
    properties: Literal["attributes", "ignore"] = "attributes"
    #: Whether a question about a tool has to say with which arguments.
    require_arguments: bool = True
    #: What becomes of an allow with other arguments than those that were sent.
    changed_arguments: Literal["deny", "return"] = "deny"


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool of an MCP server."""

    server: str
    name: str


Question = pb.DecideRequest | pb.AuthorizeRequest


def question(evaluation: Evaluation, options: MappingOptions, request_id: str) -> Question:
    """The request that an evaluation amounts to. Raises InvalidRequestError."""
    if evaluation.resource.type in options.tool_types:
        return _call(evaluation, options, request_id)
    return _asked(evaluation, options, request_id)


def is_tool_type(resource: Entity, options: MappingOptions) -> bool:
    """Whether a resource is an MCP tool."""
    return resource.type in options.tool_types


def searched_server(resource: Entity, options: MappingOptions) -> str:
    """The server that a search for tools is about; empty for all of them."""
    return _named_server(resource, options)


def tool_list(
    evaluation: Evaluation, server: str, names: Iterable[str], options: MappingOptions
) -> pb.FilterToolsRequest:
    """Which of these tools of one server the subject of a search could ever call. Raises InvalidRequestError."""
    return pb.FilterToolsRequest(
        subject=_subject(evaluation, options),
        server=server,
        tools=[pb.ListedTool(name=name) for name in names],
        context_json=_json_text(_rest(evaluation, options, _SESSION, _ARGUMENTS)),
    )


def tool_id(server: str, name: str, resource: Entity, options: MappingOptions) -> str:
    """The id with which a resource like the one that was searched for names a tool of this server."""
    return name if _named_server(resource, options) else f"{server}/{name}"


def tool_of(resource: Entity, options: MappingOptions) -> Tool:
    """The tool that a resource names. Raises InvalidRequestError where it names no server."""
    server = _named_server(resource, options)
    if server:
        return Tool(server, resource.id)
    # Servers are named by files, so their names hold no slash, and the first one ends the server's.
    server, slash, name = resource.id.partition("/")
    if not (slash and server and name):
        message = f"`{resource.id}` names no server; write `server/tool`, or give `resource.properties.server`"
        raise InvalidRequestError("resource.id", message)
    return Tool(server, name)


def _require_call(action: Action, tool: str, options: MappingOptions) -> None:
    """Raise InvalidRequestError unless the action calls the tool."""
    if action.name != tool and action.name not in options.call_actions:
        known = " or ".join(f"`{name}`" for name in options.call_actions)
        message = f"`action.name` is `{action.name}`; a tool is called with {known or 'its own name'}"
        raise InvalidRequestError("action.name", message)


def _call(evaluation: Evaluation, options: MappingOptions, request_id: str) -> pb.DecideRequest:
    tool = tool_of(evaluation.resource, options)
    _require_call(evaluation.action, tool.name, options)
    request = pb.DecideRequest(
        subject=_subject(evaluation, options),
        tool_call=decision_pb2.ToolCall(
            server=tool.server,
            tool=tool.name,
            arguments_json=_arguments(evaluation, options),
            session_id=_session(evaluation),
        ),
        context_json=_json_text(_rest(evaluation, options, _SESSION, _ARGUMENTS)),
        # What a tool is comes from the bundle, so nothing that is said about it here counts.
        entities_json=_entities([_subject_entity(evaluation, options)]),
        request_id=request_id,
    )
    definition = evaluation.resource.properties.get("definition")
    if definition is not None:
        request.definition_json = canonical_text(definition).encode()
    return request


def _asked(evaluation: Evaluation, options: MappingOptions, request_id: str) -> pb.AuthorizeRequest:
    resource = evaluation.resource
    uid = _uid(resource, options)
    entities = [_subject_entity(evaluation, options)]
    if options.properties == "attributes":
        entities.append(_entity_form(uid, resource.properties))
    return pb.AuthorizeRequest(
        subject=_subject(evaluation, options),
        action_on_resource=decision_pb2.ActionOnResource(
            action=decision_pb2.EntityUid(type=options.action_type, id=evaluation.action.name), resource=uid
        ),
        context_json=_json_text(_with_action(evaluation, options)),
        entities_json=_entities(entities),
        request_id=request_id,
    )


def _subject(evaluation: Evaluation, options: MappingOptions) -> decision_pb2.Subject:
    if _is_token(evaluation, options):
        return decision_pb2.Subject(token=evaluation.subject.id)
    uid = _uid(evaluation.subject, options)
    if not options.agent_type:
        return decision_pb2.Subject(entity=uid)
    agent = evaluation.context.get(_AGENT)
    # An agent that got lost would leave the user alone, who may do more than the agent.
    if type(agent) is not str or not agent:
        message = "`context.agent` has to name the agent that acts for the subject"
        raise InvalidRequestError("context.agent", message, "MISSING_FIELD")
    return decision_pb2.Subject(entity=decision_pb2.EntityUid(type=options.agent_type, id=agent), on_behalf_of=uid)


def _is_token(evaluation: Evaluation, options: MappingOptions) -> bool:
    return bool(options.token_type) and evaluation.subject.type == options.token_type


def _subject_entity(evaluation: Evaluation, options: MappingOptions) -> dict[str, Any] | None:
    properties = evaluation.subject.properties
    if not properties or options.properties == "ignore":
        return None
    if _is_token(evaluation, options):
        message = "a token says itself what is known about its subject; leave out `subject.properties`"
        raise InvalidRequestError("subject.properties", message, "UNEXPECTED_FIELD")
    return _entity_form(_uid(evaluation.subject, options), properties)


def _uid(entity: Entity, options: MappingOptions) -> decision_pb2.EntityUid:
    return decision_pb2.EntityUid(type=options.entity_types.get(entity.type, entity.type), id=entity.id)


def _entity_form(uid: decision_pb2.EntityUid, properties: Mapping[str, Any]) -> dict[str, Any] | None:
    """An entity in Cedar's JSON form, or None where nothing is said about it."""
    if not properties:
        return None
    return {"uid": {"type": uid.type, "id": uid.id}, "attrs": properties, "parents": []}


def _entities(forms: Iterable[dict[str, Any] | None]) -> bytes:
    given = [form for form in forms if form is not None]
    return canonical_text(given).encode() if given else b""


def _with_action(evaluation: Evaluation, options: MappingOptions) -> dict[str, Any]:
    context = _rest(evaluation, options)
    if not evaluation.action.properties or options.properties == "ignore":
        return context
    if ACTION_PROPERTIES in context:
        message = f"`context.{ACTION_PROPERTIES}` is where the action's properties go"
        raise InvalidRequestError(f"context.{ACTION_PROPERTIES}", message, "UNEXPECTED_FIELD")
    return {**context, ACTION_PROPERTIES: evaluation.action.properties}


def _rest(evaluation: Evaluation, options: MappingOptions, *taken: str) -> dict[str, Any]:
    """The context without what has a place of its own in the request."""
    names = {*taken, _AGENT} if options.agent_type and not _is_token(evaluation, options) else set(taken)
    return {name: value for name, value in evaluation.context.items() if name not in names}


def _json_text(context: Mapping[str, Any]) -> bytes:
    return canonical_text(context).encode() if context else b""


def _arguments(evaluation: Evaluation, options: MappingOptions) -> bytes:
    """The arguments as JSON text, numbers exact; whether they fit the tool is the core's to say."""
    places = {
        "resource.properties.arguments": evaluation.resource.properties,
        "action.properties.arguments": evaluation.action.properties,
        "context.arguments": evaluation.context,
    }
    given = [(path, members[_ARGUMENTS]) for path, members in places.items() if _ARGUMENTS in members]
    # Two sets of arguments are two calls, and the tool might get the one that nobody looked at.
    if len(given) > 1:
        message = f"the arguments are given twice: `{given[0][0]}` and `{given[1][0]}`"
        raise InvalidRequestError(given[1][0], message, "UNEXPECTED_FIELD")
    if given:
        return canonical_text(given[0][1]).encode()
    # Policies that look at arguments would see a call without any, and might allow what they are there to forbid.
    if options.require_arguments:
        path = "resource.properties.arguments"
        raise InvalidRequestError(path, f"`{path}` is missing: a call is decided by its arguments", "MISSING_FIELD")
    return b""


def _session(evaluation: Evaluation) -> str:
    value = evaluation.context.get(_SESSION, "")
    if type(value) is not str:
        raise InvalidRequestError("context.session_id", "`context.session_id` must be a string")
    return value


def _named_server(resource: Entity, options: MappingOptions) -> str:
    """The server that a resource names beside its id, or the configured one; empty where there is neither."""
    if "server" not in resource.properties:
        return options.server
    server = resource.properties["server"]
    if type(server) is not str or not server:
        path = "resource.properties.server"
        raise InvalidRequestError(path, f"`{path}` must name an MCP server")
    return server


#: The members of AuthZEN's documents that fields of this service's requests come from.
_PATHS = {
    "subject": "subject",
    "subject.entity": "subject",
    "subject.entity.type": "subject.type",
    "subject.entity.id": "subject.id",
    "action_on_resource.action": "action.name",
    "action_on_resource.action.type": "action.name",
    "action_on_resource.action.id": "action.name",
    "action_on_resource.resource": "resource",
    "action_on_resource.resource.type": "resource.type",
    "action_on_resource.resource.id": "resource.id",
    "tool_call.server": "resource.properties.server",
    "tool_call.tool": "resource.id",
    "tool_call.session_id": "context.session_id",
    "context_json": "context",
    "entities_json": "properties",
    "definition_json": "resource.properties.definition",
    "request_id": "X-Request-ID",
}


def path_of(field_name: str, options: MappingOptions) -> str:
    """The path in an AuthZEN document for a field that this service's requests name."""
    if options.agent_type and field_name.startswith("subject.entity"):
        return "context.agent"
    if field_name.startswith("subject.on_behalf_of"):
        return "subject"
    return _PATHS.get(field_name, field_name)
