"""`[authzen]`: the OpenID AuthZEN Authorization API 1.0 over HTTP, and how its names are read."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pdp.cedar.model import is_entity_type
from pdp.text_lists import each, is_line


def _entity_type(name: str) -> str:
    if name and not is_entity_type(name):
        raise ValueError(f"`{name}` is not a Cedar entity type; write `User` or `Acme::User`")
    return name


def _not_unix(address: str) -> str:
    if address.startswith("unix:"):
        raise ValueError(f"`{address}`: AuthZEN is not served on unix sockets; write `host:port` or `[v6]:port`")
    return address


_EntityType = Annotated[str, AfterValidator(_entity_type)]
# One line of text: a name with a line end or a NUL in it is a slip.
_Name = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
_Names = Annotated[tuple[str, ...], each(lambda name: len(name) <= 256 and is_line(name), "is not a name")]
_NameOrNone = Annotated[str, Field(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]
_Seconds = Annotated[float, Field(gt=0, le=3_600)]

#: The keys that are about HTTP.
_HTTP: Final = frozenset({"listen", "public_url", "threads", "connections", "request_seconds", "idle_seconds"})


class AuthZenConfig(BaseModel):
    """`[authzen]`: questions over HTTP as the OpenID AuthZEN Authorization API 1.0 asks them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: `host:port` or `[v6]:port`; port 0 picks a free one. Empty: not served. TLS is that of `[server]`.
    listen: Annotated[str, AfterValidator(_not_unix)] = ""
    #: Where callers reach this service, such as `https://pdp.example.com`; for the metadata. Empty: as it listens.
    public_url: Annotated[str, Field(pattern=r"^(?:|https?://[^\s/?#]+(?:/[^\s?#]*[^\s/?#])?)$")] = ""
    #: Threads that answer.
    threads: Annotated[int, Field(ge=1, le=256)] = 4
    #: Connections at the same time; a further one takes the place of one that waits, or is closed at once.
    connections: Annotated[int, Field(ge=1, le=65_536)] = 256
    #: For a request to come in and be decided, and as long again for the caller to take the answer.
    request_seconds: _Seconds = 10.0
    #: How long a connection may wait for its next request.
    idle_seconds: _Seconds = 60.0

    #: Cedar's entity types for AuthZEN's types, such as `identity = "User"`; a type that is not here is one as it is.
    entity_types: dict[_Name, _EntityType] = Field(default_factory=dict)
    #: The Cedar type of actions.
    action_type: _EntityType = "Action"
    #: Types of resources that are MCP tools.
    tool_types: _Names = ("tool", "mcp-tool")
    #: Names of the action that calls a tool; the tool's own name is always one.
    call_actions: _Names = ("tools/call",)
    #: The MCP server of tools that name none; empty: each tool has to.
    server: _NameOrNone = ""
    #: The entity type of `context.agent`, who acts for the subject; empty: the subject itself asks.
    agent_type: _EntityType = ""
    #: The type of subjects whose `id` is a token; empty: there are none.
    token_type: _NameOrNone = ""
    #: What becomes of properties: attributes of their entities, or nothing.
    properties: Literal["attributes", "ignore"] = "attributes"
    #: Whether a question about a tool has to say with which arguments.
    require_arguments: bool = True
    #: What becomes of an allow with other arguments than those that were sent: a denial, or `context.arguments`.
    changed_arguments: Literal["deny", "return"] = "deny"

    def mapping(self) -> dict[str, Any]:
        """What is about names, and nothing about HTTP."""
        return {name: getattr(self, name) for name in type(self).model_fields.keys() - _HTTP}
