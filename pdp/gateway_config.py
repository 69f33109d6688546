"""`[envoy]` and `[agentgateway]`: which gateways are answered, and how they say who asks for what."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from pdp.cedar.model import is_action_type, is_entity_type
from pdp.text_lists import each


def _entity_type(name: str) -> str:
    if name and (not is_entity_type(name) or is_action_type(name)):
        raise ValueError(f"`{name}` is not a Cedar entity type; write `Agent` or `Acme::Agent`")
    return name


_WHERE = r"header:[A-Za-z0-9!#$%&'*+.^_`|~-]+|metadata:[^/]+(?:/[^/]+)*"
_ROUTE = r"route:[a-z0-9_.-]+"
#: Where a value is found in what a gateway sends.
_Source = Annotated[str, Field(max_length=1_000, pattern=rf"^(?:|{_WHERE})$")]
_EnvoySource = Annotated[str, Field(max_length=1_000, pattern=rf"^(?:|{_WHERE}|{_ROUTE})$")]
_ServerSource = Annotated[str, Field(max_length=1_000, pattern=rf"^(?:|fixed:.+|{_WHERE}|{_ROUTE})$")]
_EntityType = Annotated[str, Field(max_length=1_000), AfterValidator(_entity_type)]
_METHOD = re.compile(r"[A-Za-z0-9_$./-]+")
_Methods = Annotated[tuple[str, ...], each(_METHOD.fullmatch, "is not the name of a method")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EnvoyConfig(_Section):
    """`[envoy]`: MCP over streamable HTTP behind Envoy. The values of `…_from` are places in what Envoy sends:
    `header:NAME`, `metadata:NAMESPACE/KEY/…` (dynamic metadata, as an authentication filter writes it), or `route:NAME`
    (what the route's configuration adds: `grpc_initial_metadata` of ext_proc, `context_extensions` of ext_authz)."""

    #: Serve `envoy.service.ext_proc.v3.ExternalProcessor`, which decides about calls, filters lists and checks results.
    ext_proc: bool = False
    #: Serve `envoy.service.auth.v3.Authorization`, which decides about calls and sees neither lists nor results.
    ext_authz: bool = False
    #: Where the name of the MCP server is, as the bundle has it; `fixed:NAME` for a single one.
    server_from: _ServerSource = ""
    #: Where the subject's id is. Whoever can write there says who the agent is.
    subject_from: _EnvoySource = ""
    #: The entity type of the subject.
    subject_type: _EntityType = "Agent"
    #: Where the agent's token is, instead of `subject_from`; `Bearer ` in front of it is taken away.
    token_from: _EnvoySource = ""
    #: Where the id of the session is; empty for none.
    session_from: _EnvoySource = "header:mcp-session-id"
    #: Methods that pass without a question, beside `initialize`, `ping`, `server/discover` and `notifications/…`.
    pass_methods: _Methods = ()
    #: Let agents open a stream on which the server says something unasked (GET). Each keeps a thread.
    listen_streams: bool = False
    #: HTTP requests that ext_proc looks at at the same time, a thread for each; further ones are denied.
    streams: Annotated[int, Field(ge=1, le=4_096)] = 256
    #: How long one decision of ext_proc may take. Let Envoy's `message_timeout` be longer.
    decision_seconds: Annotated[float, Field(gt=0, le=600)] = 5.0

    @model_validator(mode="after")
    def _complete(self) -> EnvoyConfig:
        if self.ext_proc or self.ext_authz:
            _require_subject("envoy", self.subject_from, self.subject_type, self.token_from)
            if not self.server_from:
                raise ValueError("`envoy.server_from` is missing: say where the name of the MCP server is")
        return self


class AgentgatewayConfig(_Section):
    """`[agentgateway]`: agentgateway's MCP guardrails. The values of `…_from` are `header:NAME` (with `CheckRequest`
    only) or `metadata:KEY/…`, a key of the processor's `metadata`."""

    #: Serve `agentgateway.dev.ext_mcp.ExtMcp`.
    enabled: bool = False
    #: Where the subject's id is. Whoever can write there says who the agent is.
    subject_from: _Source = ""
    #: The entity type of the subject.
    subject_type: _EntityType = "Agent"
    #: Where the agent's token is, instead of `subject_from`; `Bearer ` in front of it is taken away.
    token_from: _Source = ""
    #: Where the id of the session is; empty for none.
    session_from: _Source = ""
    #: Where a result's call is: what `CheckRequest` answered as `pdp`.
    call_from: _Source = "metadata:pdp"
    #: What stands between server and tool in a list of several servers; empty refuses such lists.
    separator: Annotated[str, Field(max_length=16, pattern=r"^[!-~]*$")] = "_"
    #: Methods that pass without a question, beside `initialize`, `ping`, `server/discover` and `notifications/…`.
    pass_methods: _Methods = ()

    @model_validator(mode="after")
    def _complete(self) -> AgentgatewayConfig:
        if self.enabled:
            _require_subject("agentgateway", self.subject_from, self.subject_type, self.token_from)
        return self


def _require_subject(section: str, subject: str, kind: str, token: str) -> None:
    if bool(subject) == bool(token):
        raise ValueError(
            f"`{section}` needs either `subject_from` or `token_from`: say where it is told who the agent is"
        )
    if subject and not kind:
        raise ValueError(f"`{section}.subject_type` is empty; name a Cedar entity type")
