"""The words of the decision core: who asks what, and what the answer is."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

Effect = Literal["permit", "forbid"]

#: A Cedar entity type: `::`-separated identifiers. Reserved words are refused by Cedar itself.
_ENTITY_TYPE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:::[A-Za-z_][A-Za-z0-9_]*)*\Z")
_RESERVED = frozenset({"true", "false", "if", "then", "else", "in", "is", "like", "has", "__cedar"})


class EntityUid(NamedTuple):
    """A Cedar entity's identity: `type` is a qualified name (`Acme::User`), `id` any text."""

    type: str
    id: str

    def __str__(self) -> str:
        return f'{self.type}::"{"".join(map(_escaped, self.id))}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else f"\\u{{{ord(character):x}}}"


def is_entity_type(name: str) -> bool:
    """Whether Cedar's grammar takes `name` as an entity type name (of at most 256 characters)."""
    return len(name) <= _MAX_TYPE_LENGTH and _is_entity_type(name)


#: Bounds what the cache below can hold: the name may be anything a caller sent.
_MAX_TYPE_LENGTH = 256


@lru_cache(maxsize=1_024)
def _is_entity_type(name: str) -> bool:
    return _ENTITY_TYPE.match(name) is not None and _RESERVED.isdisjoint(name.split("::"))


def is_action_type(name: str) -> bool:
    """Whether entities of this type are actions, in any namespace."""
    return name == "Action" or name.endswith("::Action")


class DenialCode(enum.Enum):
    """Why a call was denied. The names are the API's."""

    FORBIDDEN = "FORBIDDEN"
    NO_MATCHING_POLICY = "NO_MATCHING_POLICY"
    POLICY_ERROR = "POLICY_ERROR"
    INVALID_ARGUMENTS = "INVALID_ARGUMENTS"
    UNKNOWN_TOOL = "UNKNOWN_TOOL"
    TOOL_CHANGED = "TOOL_CHANGED"
    INVALID_TOKEN = "INVALID_TOKEN"  # noqa: S105 - a denial code, not a secret
    INTERCEPTOR_DENIED = "INTERCEPTOR_DENIED"
    INTERCEPTOR_FAILED = "INTERCEPTOR_FAILED"


@dataclass(frozen=True, slots=True)
class Denial:
    """A denial: `message` may be shown to the agent, so it never names causes that only operators may see."""

    code: DenialCode
    message: str


@dataclass(frozen=True, slots=True)
class PolicyError:
    """A policy that failed to evaluate, in Cedar's words."""

    policy_id: str
    message: str


@dataclass(frozen=True, slots=True)
class DeterminingPolicy:
    """A policy that decided the answer, with its annotations as written."""

    policy_id: str
    effect: Effect
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ShadowReport:
    """What the shadow policies would have changed.

    `flipping` names the shadow policies that make `would_allow` differ from the enforced answer, `matched` every
    shadow policy that was satisfied or failed.
    """

    would_allow: bool
    flipping: tuple[str, ...]
    matched: tuple[str, ...]
    #: Why it would be a denial, where the whole bundle is in shadow mode.
    would_be_denial: Denial | None = None


@dataclass(frozen=True, slots=True)
class Authorization:
    """The answer to one question. `denial` is None exactly when `allowed`."""

    allowed: bool
    denial: Denial | None = None
    determining: tuple[DeterminingPolicy, ...] = ()
    errors: tuple[PolicyError, ...] = ()
    shadow: ShadowReport | None = None

    @staticmethod
    def denied(code: DenialCode, message: str) -> Authorization:
        """A denial that no policy took part in."""
        return Authorization(False, Denial(code, message))


class Subject(NamedTuple):
    """Who asks: `principal`, for `on_behalf_of` if that is not None.

    `facts` is what a token says about these two: entities in explicit Cedar JSON, as JSON text, or empty.
    """

    principal: EntityUid
    on_behalf_of: EntityUid | None = None
    facts: str = ""


class ActionQuery(NamedTuple):
    """May `principal` do `action` on `resource`? `context` and `entities` are Cedar JSON texts, empty for none.

    `on_behalf_of` and `subject_facts` are as in `Subject`.
    """

    principal: EntityUid
    action: EntityUid
    resource: EntityUid
    context: bytes = b""
    entities: bytes = b""
    on_behalf_of: EntityUid | None = None
    subject_facts: str = ""


class ToolQuery(NamedTuple):
    """May `principal` call this tool with these arguments? All bytes are UTF-8 JSON texts, empty for none.

    `facts` is what interceptors stated, by their names: explicit Cedar JSON of the declared types, canonical, or empty.
    `on_behalf_of` and `subject_facts` are as in `Subject`.
    """

    principal: EntityUid
    server: str
    tool: str
    arguments: bytes = b""
    session_id: str = ""
    context: bytes = b""
    entities: bytes = b""
    facts: str = ""
    on_behalf_of: EntityUid | None = None
    subject_facts: str = ""


#: A question. Both kinds are tuples of unequal length, so a query is its own cache key.
Query = ActionQuery | ToolQuery


_UID_TEXT = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_]*(?:::[A-Za-z_][A-Za-z0-9_]*)*)::"((?:[^"\\]|\\.)*)"\s*\Z', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u\{([0-9A-Fa-f]{1,6})\}|x([0-7][0-9A-Fa-f])|(.))", re.DOTALL)
_SIMPLE_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "0": "\0", "\\": "\\", '"': '"', "'": "'"}


def parse_uid(text: str) -> EntityUid:
    """A uid from Cedar's surface syntax, `User::"alice"`. ValueError for anything else."""
    match = _UID_TEXT.match(text)
    if match is None or not is_entity_type(match.group(1)):
        raise ValueError(f'`{text}` is not an entity; write `Type::"id"`')
    return EntityUid(match.group(1), _ESCAPE.sub(_unescape, match.group(2)))


def _unescape(match: re.Match[str]) -> str:
    code = match.group(1) or match.group(2)
    if code is not None:
        value = int(code, 16)
        if value > 0x10FFFF or 0xD800 <= value <= 0xDFFF:
            raise ValueError(f"`{match.group()}` is not a character")
        return chr(value)
    character = match.group(3)
    if character not in _SIMPLE_ESCAPES:
        raise ValueError(f"`{match.group()}` is not an escape of Cedar's")
    return _SIMPLE_ESCAPES[character]
