"""A client of the policy decision point `pdp`: may this agent make this tool call?"""

from pdp_client._channel import DEFAULT_DEADLINE_SECONDS, DEFAULT_MAX_RECEIVE_BYTES, SERVICE_CONFIG, Tls
from pdp_client._gen.pdp.v1.decision_pb2 import (
    DECISION_ALLOW,
    DECISION_DENY,
    DECISION_UNSPECIFIED,
    ActionOnResource,
    Decision,
    Denial,
    DenialCode,
    EntityUid,
    Subject,
    ToolCall,
)
from pdp_client._gen.pdp.v1.decision_service_pb2 import (
    AuthorizeBatchRequest,
    AuthorizeBatchResponse,
    AuthorizeRequest,
    AuthorizeResponse,
    DecideRequest,
    DecideResponse,
    FilterToolsRequest,
    FilterToolsResponse,
    InterceptRequest,
    InterceptResponse,
    ListedTool,
)
from pdp_client._gen.pdp.v1.interceptor_pb2 import PHASE_REQUEST, PHASE_RESPONSE, Phase
from pdp_client.aio import AsyncClient
from pdp_client.client import Client
from pdp_client.messages import ErrorInfo, allowed, entity, error_info, token, tool_call

__version__ = "0.1.0"

__all__ = [
    "DECISION_ALLOW",
    "DECISION_DENY",
    "DECISION_UNSPECIFIED",
    "DEFAULT_DEADLINE_SECONDS",
    "DEFAULT_MAX_RECEIVE_BYTES",
    "PHASE_REQUEST",
    "PHASE_RESPONSE",
    "SERVICE_CONFIG",
    "ActionOnResource",
    "AsyncClient",
    "AuthorizeBatchRequest",
    "AuthorizeBatchResponse",
    "AuthorizeRequest",
    "AuthorizeResponse",
    "Client",
    "DecideRequest",
    "DecideResponse",
    "Decision",
    "Denial",
    "DenialCode",
    "EntityUid",
    "ErrorInfo",
    "FilterToolsRequest",
    "FilterToolsResponse",
    "InterceptRequest",
    "InterceptResponse",
    "ListedTool",
    "Phase",
    "Subject",
    "Tls",
    "ToolCall",
    "allowed",
    "entity",
    "error_info",
    "token",
    "tool_call",
]
