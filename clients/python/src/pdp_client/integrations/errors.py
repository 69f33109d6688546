"""Why a tool call, or its result, goes no further."""

from __future__ import annotations

NO_DECISION = "the policy decision point gave no decision"
NO_IDENTITY = "it is not known who makes this call"


class RefusedError(Exception):
    """The call was not made, or its result is withheld. The text may be shown to the agent."""


class DeniedError(RefusedError):
    """The service denied. `code` is such as `FORBIDDEN`, a number where this client does not know it."""

    def __init__(self, code: str, message: str, decision_id: str) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message
        self.decision_id = decision_id


class UnavailableError(RefusedError):
    """The service gave no answer, whyever; the cause is chained."""

    def __init__(self) -> None:
        super().__init__(NO_DECISION)


class IdentityError(RefusedError):
    """Nobody could say who makes the call; the cause, if there is one, is chained."""

    def __init__(self) -> None:
        super().__init__(NO_IDENTITY)


class UnreadableError(RefusedError):
    """The arguments or the result are nothing that can be looked at, so they go no further."""
