"""Claims to who asks, and for whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pdp.errors import InvalidTokenError
from pdp.identity.config import IssuerConfig
from pdp.identity.entity_mapping import EntityMapping, MappedEntity

#: How many actors an `act` claim may name: the current one, and those before it.
_MAX_ACTORS = 8


class MappedSubject(NamedTuple):
    """Who asks, and the user it acts for, if there is one."""

    principal: MappedEntity
    on_behalf_of: MappedEntity | None


class SubjectMapping:
    """Reads one issuer's claims. Immutable, and safe to share between threads."""

    def __init__(self, config: IssuerConfig) -> None:
        self._principal = EntityMapping(config.principal_type, config.principal_claim, config)
        delegation = config.on_behalf_of
        self._user = EntityMapping(delegation.user_type, delegation.user_claim, delegation) if delegation else None
        self._is_in_act = delegation is not None and delegation.source == "act"
        self._is_required = delegation is not None and delegation.required

    def read(self, claims: Mapping[str, Any]) -> MappedSubject:
        """The subject of verified claims. Raises InvalidTokenError."""
        actor = _current_actor(claims)
        if actor is not None and not self._is_in_act:
            # To overlook it would give the agent all that the user may do.
            raise InvalidTokenError("it was made for somebody who acts for another (`act`), which is not configured")
        if self._user is None:
            return MappedSubject(self._principal.read(claims), None)
        subject = self._read_actor(claims, actor) if self._is_in_act else self._read_pair(claims)
        if subject.on_behalf_of is not None and subject.on_behalf_of.uid == subject.principal.uid:
            raise InvalidTokenError(f"`{subject.principal.uid}` would act for itself")
        return subject

    def _read_actor(self, claims: Mapping[str, Any], actor: Mapping[str, Any] | None) -> MappedSubject:
        """The actor asks for the token's subject; without one the subject asks in person."""
        assert self._user is not None
        if actor is not None:
            return MappedSubject(self._principal.read(actor), self._user.read(claims))
        if self._is_required:
            raise InvalidTokenError("claim `act` is missing, and `on_behalf_of` is required")
        return MappedSubject(self._user.read(claims), None)

    def _read_pair(self, claims: Mapping[str, Any]) -> MappedSubject:
        """The principal asks for the user whom another claim names; without one it asks for itself."""
        assert self._user is not None
        principal = self._principal.read(claims)
        if self._is_required or self._user.is_named(claims):
            return MappedSubject(principal, self._user.read(claims))
        return MappedSubject(principal, None)


def _current_actor(claims: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The claims of the actor (RFC 8693, 4.1), None if there is none.

    Actors within it came before; they inform, and nothing is decided by them. Raises InvalidTokenError.
    """
    if "act" not in claims:
        return None
    current: Any = claims
    for _ in range(_MAX_ACTORS):
        current = current["act"]
        if type(current) is not dict:
            raise InvalidTokenError("claim `act` is not an object")
        if "act" not in current:
            break
    else:
        raise InvalidTokenError(f"claim `act` names more than {_MAX_ACTORS} actors")
    actor: Mapping[str, Any] = claims["act"]
    # Ids are unique within an issuer, so this one could be mistaken for one of ours.
    if actor.get("iss", claims.get("iss")) != claims.get("iss"):
        raise InvalidTokenError("claim `act` names an actor of another issuer")
    return actor
