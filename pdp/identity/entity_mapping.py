"""Claims to one Cedar entity: its id, its groups, its attributes and tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pdp.cedar.arguments import FactType, parse_type
from pdp.cedar.model import EntityUid
from pdp.errors import InvalidArgumentsError, InvalidTokenError
from pdp.identity.claim_paths import ABSENT, claim_path, find_claim
from pdp.identity.config import ClaimConfig, MappingConfig


class MappedEntity(NamedTuple):
    """What claims say about one entity: `form` is the entity in explicit Cedar JSON."""

    uid: EntityUid
    form: Mapping[str, Any]


class EntityMapping:
    """Makes entities of one type from claims. Immutable, and safe to share between threads."""

    def __init__(self, entity_type: str, id_claim: str, config: MappingConfig) -> None:
        self._type = entity_type
        self._id_claim = id_claim
        self._id_path = claim_path(id_claim)
        self._groups_path = claim_path(config.groups_claim) if config.groups_claim else None
        self._group_type = config.group_type or ""
        self._attributes = [_Fact(name, fact) for name, fact in config.attributes.items()]
        self._tags = [_Fact(name, fact) for name, fact in config.tags.items()]
        facts = [fact.path for fact in (*self._attributes, *self._tags)]
        groups = [self._groups_path] if self._groups_path else []
        self._first_names = {path[0] for path in (self._id_path, *groups, *facts)}

    def is_named(self, claims: Mapping[str, Any]) -> bool:
        """Whether the claim with the entity's id is there, whatever it holds."""
        return find_claim(claims, self._id_path) is not ABSENT

    def read(self, claims: Mapping[str, Any]) -> MappedEntity:
        """The entity. Raises InvalidTokenError where a claim is not of its type, or there is no id."""
        self._require_all_here(claims)
        name = find_claim(claims, self._id_path)
        if type(name) is not str or not name:
            raise InvalidTokenError(f"claim `{self._id_claim}` is missing, empty or no string")
        uid = EntityUid(self._type, name)
        form = {
            "uid": uid._asdict(),
            "attrs": _facts(self._attributes, claims),
            "tags": _facts(self._tags, claims),
            "parents": [group._asdict() for group in self._groups(claims)],
        }
        return MappedEntity(uid, form)

    def _require_all_here(self, claims: Mapping[str, Any]) -> None:
        """Claims may be kept elsewhere (OpenID Connect Core, 5.6.2); leaving them out could leave out a prohibition."""
        elsewhere = claims.get("_claim_names", {})
        if type(elsewhere) is not dict:
            raise InvalidTokenError("claim `_claim_names` is not an object")
        for name in sorted(self._first_names & elsewhere.keys()):
            raise InvalidTokenError(f"claim `{name}` is not in the token but at another place (`_claim_names`)")

    def _groups(self, claims: Mapping[str, Any]) -> list[EntityUid]:
        """Sorted, so that equal facts give equal entities."""
        names = find_claim(claims, self._groups_path) if self._groups_path else ABSENT
        if names is ABSENT:
            return []
        if type(names) is not list or not all(type(name) is str and name for name in names):
            raise InvalidTokenError(f"claim `{'/'.join(self._groups_path or ())}` is not an array of strings")
        return [EntityUid(self._group_type, name) for name in sorted(set(names))]


class _Fact:
    """A claim that becomes an attribute or a tag."""

    def __init__(self, name: str, config: ClaimConfig) -> None:
        self.name = name
        self.path = claim_path(config.claim)
        self._claim = config.claim
        self._type: FactType = parse_type(config.type)
        self._is_words = config.space_separated

    def read(self, claims: Mapping[str, Any]) -> Any:
        """The value in explicit Cedar JSON, or ABSENT."""
        value = find_claim(claims, self.path)
        if value is ABSENT:
            return ABSENT
        if self._is_words:
            if type(value) is not str:
                raise InvalidTokenError(f"claim `{self._claim}` is not a string of words")
            value = sorted(set(value.split(" ")) - {""})
        try:
            return self._type.convert(value)
        except InvalidArgumentsError as error:
            raise InvalidTokenError(f"claim `{self._claim}`: {error.message}") from error


def _facts(facts: list[_Fact], claims: Mapping[str, Any]) -> dict[str, Any]:
    read = ((fact.name, fact.read(claims)) for fact in facts)
    return {name: value for name, value in read if value is not ABSENT}
