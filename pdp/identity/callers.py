"""Who calls this service, and what it may do. Not who the question is about: that is the subject."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from pdp.errors import PermissionDeniedError, UnauthenticatedError
from pdp.identity.caller_config import CallersConfig, Right

_SCHEME = "bearer "

#: One text for every refusal: which part of a credential was right is nothing that a guesser may learn.
_REFUSED = "the caller's credentials are missing or not valid"


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller that is known. `servers` None is no limit; `name` is empty where callers are not told apart."""

    name: str
    rights: frozenset[Right]
    servers: frozenset[str] | None = None

    def require(self, right: Right) -> None:
        """Raise PermissionDeniedError unless the caller has `right`."""
        if right not in self.rights:
            raise PermissionDeniedError(f"this caller does not have the right `{right}`")

    def require_server(self, server: str) -> None:
        """Raise PermissionDeniedError unless the caller may ask about `server`, empty for what is no tool call."""
        if self.servers is not None and server not in self.servers:
            asked = f"the server `{server}`" if server else "what is not a tool call"
            raise PermissionDeniedError(f"this caller may not ask about {asked}")


#: Everyone, where no caller is configured.
ANYONE = Caller("", frozenset({"decide", "admin", "reflect"}))

#: Somebody who may do nothing: for protocols in which that has to be said in answers.
NOBODY = Caller("", frozenset(), frozenset())


class Callers:
    """The configured callers. With none configured, everyone is `ANYONE`."""

    def __init__(self, config: CallersConfig) -> None:
        self._keys: list[tuple[bytes, Caller]] = []
        self._certificates: dict[str, Caller] = {}
        for entry in config.caller:
            caller = Caller(entry.name, frozenset(entry.rights), frozenset(entry.servers) or None)
            self._keys += [(bytes.fromhex(digest), caller) for digest in entry.keys_sha256]
            self._certificates |= dict.fromkeys(entry.certificates, caller)
        #: Whether callers have to prove who they are.
        self.configured = bool(config.caller)

    def identify(self, authorization: str | None, certificate_names: Sequence[str]) -> Caller:
        """The caller with these credentials.

        `authorization` is the value of that header, `certificate_names` are the subject alternative names of a client
        certificate that was verified. A key that is sent decides, also where there is a certificate.

        Raises UnauthenticatedError.
        """
        if not self.configured:
            return ANYONE
        if authorization is not None:
            return self._by_key(authorization)
        found = {self._certificates[name] for name in certificate_names if name in self._certificates}
        if len(found) != 1:  # none, or a certificate that names several callers
            raise UnauthenticatedError(_REFUSED)
        return found.pop()

    def _by_key(self, authorization: str) -> Caller:
        scheme, key = authorization[: len(_SCHEME)], authorization[len(_SCHEME) :]
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        found: Caller | None = None
        # All are compared, always, so that the time tells nothing.
        for known, caller in self._keys:
            if hmac.compare_digest(known, digest):
                found = caller
        if found is None or scheme.lower() != _SCHEME or not key:
            raise UnauthenticatedError(_REFUSED)
        return found
