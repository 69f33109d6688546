"""`[identity]`: whose tokens are believed, and what their claims mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from pdp.cedar.arguments import parse_type
from pdp.cedar.cedar_types import ESCAPE_KEYS
from pdp.cedar.model import is_action_type, is_entity_type
from pdp.identity.algorithms import Algorithm
from pdp.identity.claim_paths import claim_path


def _claim(text: str) -> str:
    claim_path(text)
    return text


def _cedar_type(text: str) -> str:
    parse_type(text)
    return text


def _entity_type(name: str) -> str:
    if not is_entity_type(name):
        raise ValueError(f"`{name}` is not a Cedar entity type; write `User` or `Acme::User`")
    if is_action_type(name):
        raise ValueError(f"`{name}` is the type of actions, which come from the bundle alone")
    return name


def _fact_name(name: str) -> str:
    if name in ESCAPE_KEYS:
        raise ValueError(f"`{name}` has a meaning of its own in Cedar")
    return name


def _written_out(value: Any) -> Any:
    """`name = "Type"` is short for the claim of that name; anything else is for the validation to judge."""
    if not isinstance(value, dict):
        return value
    return {name: {"claim": name, "type": entry} if isinstance(entry, str) else entry for name, entry in value.items()}


def _tables(value: Any) -> Any:
    if isinstance(value, list | tuple) and all(isinstance(item, dict | BaseModel) for item in value):
        return value
    raise ValueError("is a list of tables; write `[[identity.issuer]]` above each")


_Text = Annotated[str, Field(min_length=1, max_length=1_000)]
_Claim = Annotated[str, Field(max_length=1_000), AfterValidator(_claim)]
_EntityType = Annotated[str, AfterValidator(_entity_type)]
_FactName = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_fact_name)]
_FilePath = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]+$")]
_MediaType = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]*$")]
_Seconds = Annotated[int, Field(ge=1, le=604_800)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClaimConfig(_Section):
    """A claim that becomes an attribute or a tag. `NAME = "Type"` alone is short for the claim `NAME`."""

    #: The claim's name, or a JSON Pointer to it: `/realm_access/roles`.
    claim: _Claim
    #: `String`, `Long`, `Bool`, `decimal`, `ipaddr`, `datetime`, `duration`, or `Set<…>` of one. A claim that is of
    #: another type makes the token invalid.
    type: Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_cedar_type)]
    #: The claim is one string of words with spaces between them, as `scope` is; for `Set<String>`.
    space_separated: bool = False

    @model_validator(mode="after")
    def _words_are_strings(self) -> ClaimConfig:
        if self.space_separated and parse_type(self.type).cedar_type() != "Set<String>":
            raise ValueError("`space_separated` goes with the type `Set<String>`")
        return self


_Facts = Annotated[dict[_FactName, ClaimConfig], BeforeValidator(_written_out)]


class MappingConfig(_Section):
    """What claims say about one entity."""

    #: A claim with the groups that the entity is in: an array of strings, their ids. An absent claim is no groups.
    groups_claim: _Claim | None = None
    #: The entity type of these groups.
    group_type: _EntityType | None = None
    #: Claims that become attributes, by the names that they have in Cedar.
    attributes: _Facts = {}
    #: Claims that become tags.
    tags: _Facts = {}

    @model_validator(mode="after")
    def _groups_have_a_type(self) -> MappingConfig:
        if (self.groups_claim is None) != (self.group_type is None):
            raise ValueError("`groups_claim` and `group_type` go together")
        return self


class OnBehalfOfConfig(MappingConfig):
    """The user that an agent acts for.

    With `act`, claims of the user are the token's own and the claims of the principal are read from within `act`. With
    `claims`, both are the token's own.
    """

    #: Where the agent is named: in the claim `act` (RFC 8693), or in `principal_claim` beside the user.
    source: Literal["act", "claims"]
    #: The entity type of users.
    user_type: _EntityType
    #: The claim with the user's id.
    user_claim: _Claim = "sub"
    #: Refuse tokens that do not name both. If not: without `act` the user asks in person, and without the user's claim
    #: the agent asks for itself.
    required: bool = True


class IssuerConfig(MappingConfig):
    """Whose tokens are believed, where its keys are, and what its claims mean."""

    #: The exact `iss` of its tokens.
    issuer: _Text
    #: Where its keys are published as a JSON Web Key Set (RFC 7517). This or `jwks_file`.
    jwks_url: Annotated[str, Field(max_length=2_000, pattern=r"^[!-~]+$")] | None = None
    #: Take keys from an address without TLS. Whoever is on the way can put in a key of theirs.
    allow_insecure_jwks_url: bool = False
    #: Certificates (PEM) that the server of `jwks_url` is checked against; unset for those of the system.
    jwks_ca_file: _FilePath | None = None
    #: A file with the key set; it is read again when it changes.
    jwks_file: _FilePath | None = None
    #: The algorithms that it signs with. Tokens with others are refused, whatever its keys could check.
    algorithms: Annotated[tuple[Algorithm, ...], Field(min_length=1)] = ("RS256",)
    #: The names of this service, or of what it decides for; `aud` must have one of them.
    audiences: tuple[_Text, ...] = ()
    #: Take tokens that were made for anybody.
    allow_any_audience: bool = False
    #: The header `typ` of its tokens, in any case; a token without one counts as `JWT`.
    token_types: Annotated[tuple[_MediaType, ...], Field(min_length=1)] = ("JWT", "at+jwt")
    #: The entity type of who asks.
    principal_type: _EntityType
    #: The claim with the id of who asks.
    principal_claim: _Claim = "sub"
    #: How a token names the user that the principal acts for. Without it, tokens with a claim `act` are refused.
    on_behalf_of: OnBehalfOfConfig | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> IssuerConfig:
        problems = [*self._key_problems(), *self._audience_problems()]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _key_problems(self) -> Iterator[str]:
        if (self.jwks_url is None) == (self.jwks_file is None):
            yield "give either `jwks_url` or `jwks_file`"
        if self.jwks_url is not None:
            yield from _url_problems(self.jwks_url, self.allow_insecure_jwks_url)
        elif self.allow_insecure_jwks_url or self.jwks_ca_file is not None:
            yield "`allow_insecure_jwks_url` and `jwks_ca_file` go with `jwks_url`"

    def _audience_problems(self) -> Iterator[str]:
        if not self.audiences and not self.allow_any_audience:
            yield "`audiences` is empty; name this service as its tokens do, or set `allow_any_audience = true`"
        if self.audiences and self.allow_any_audience:
            yield "`audiences` and `allow_any_audience` exclude each other"

    def principal_types(self) -> set[str]:
        """The entity types of those that its tokens speak for."""
        return {self.principal_type, *([self.on_behalf_of.user_type] if self.on_behalf_of else [])}

    def group_types(self) -> set[str]:
        """The entity types of the groups that its tokens put them in."""
        mappings = [self, *([self.on_behalf_of] if self.on_behalf_of else [])]
        return {mapping.group_type for mapping in mappings if mapping.group_type is not None}


class IdentityConfig(_Section):
    """`[identity]`: subjects from signed tokens (JWT). Without an issuer every token is refused."""

    #: How far the issuers' clocks may be from this one.
    clock_skew_seconds: Annotated[int, Field(ge=0, le=300)] = 60
    #: Longer tokens are refused unread.
    max_token_bytes: Annotated[int, Field(ge=256, le=65_536)] = 8_192
    #: Verified tokens kept until they expire; 0 verifies every time.
    token_cache: Annotated[int, Field(ge=0, le=1_000_000)] = 10_000
    #: How long to wait between two fetches of an issuer's keys.
    jwks_refresh_seconds: _Seconds = 300
    #: The shortest time between two fetches, so for a token with an unknown key too. After failures it doubles each
    #: time, up to `jwks_refresh_seconds`.
    jwks_retry_seconds: _Seconds = 5
    #: Keys that could not be fetched again for so long are no longer used.
    jwks_max_stale_seconds: _Seconds = 21_600
    #: How long one fetch may take.
    jwks_timeout_seconds: Annotated[int, Field(ge=1, le=60)] = 5
    #: Let several issuers speak for entities of the same type. Each can then name the others' users and groups.
    allow_shared_entity_types: bool = False
    #: The issuers, each in a table of its own.
    issuer: Annotated[tuple[IssuerConfig, ...], BeforeValidator(_tables)] = ()

    @model_validator(mode="after")
    def _is_consistent(self) -> IdentityConfig:
        problems = [*self._timing_problems(), *self._issuer_problems()]
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _timing_problems(self) -> Iterator[str]:
        if not self.jwks_retry_seconds <= self.jwks_refresh_seconds <= self.jwks_max_stale_seconds:
            yield "`jwks_retry_seconds`, `jwks_refresh_seconds` and `jwks_max_stale_seconds` must not decrease"

    def _issuer_problems(self) -> Iterator[str]:
        counts = Counter(issuer.issuer for issuer in self.issuer)
        yield from (f"issuer `{name}` is given twice" for name, count in counts.items() if count > 1)
        principals: set[str] = set().union(*(issuer.principal_types() for issuer in self.issuer))
        groups: set[str] = set().union(*(issuer.group_types() for issuer in self.issuer))
        for name in sorted(principals & groups):
            yield f"`{name}` is both a type of groups and of who asks; a user could have a group's name"
        if not self.allow_shared_entity_types:
            used = Counter(name for issuer in self.issuer for name in issuer.principal_types() | issuer.group_types())
            for name in sorted(name for name, count in used.items() if count > 1):
                yield f"`{name}` is a type of several issuers; use several types, or `allow_shared_entity_types = true`"


def _url_problems(url: str, insecure: bool) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    if not host or port == 0 or parts.scheme not in ("http", "https"):
        yield f"`jwks_url` `{url}` is not an address; write `https://host/path`"
        return
    if "@" in parts.netloc or parts.fragment:
        yield "`jwks_url` may have neither a user nor a fragment"
    if parts.scheme == "http" and not insecure:
        yield f"`jwks_url` `{url}` has no TLS; write `https://…`, or set `allow_insecure_jwks_url = true`"
