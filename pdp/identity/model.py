"""What a verified token establishes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pdp.cedar.model import EntityUid


@dataclass(frozen=True, slots=True)
class TokenSubject:
    """Who a token speaks for.

    `principal` asks, for `on_behalf_of` if that is not None. `entities` are these two in explicit Cedar JSON (`uid`,
    `attrs`, `tags`, `parents`) and nothing else. `expires_at` is the token's `exp` in whole seconds since 1970.
    """

    principal: EntityUid
    entities: tuple[Mapping[str, Any], ...]
    on_behalf_of: EntityUid | None
    issuer: str
    expires_at: int
