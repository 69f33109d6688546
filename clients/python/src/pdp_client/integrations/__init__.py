"""Guards for the tools of agent runtimes: each call is decided, and each result looked at, before it goes on.

The modules `fastmcp`, `mcp`, `langchain` and `openai_agents` need the packages that they guard.
"""

from pdp_client.integrations.errors import (
    DeniedError,
    IdentityError,
    RefusedError,
    UnavailableError,
    UnreadableError,
)
from pdp_client.integrations.functions import guarded
from pdp_client.integrations.guard import AsyncGuard, Guard, Permit, Question

__all__ = [
    "AsyncGuard",
    "DeniedError",
    "Guard",
    "IdentityError",
    "Permit",
    "Question",
    "RefusedError",
    "UnavailableError",
    "UnreadableError",
    "guarded",
]
