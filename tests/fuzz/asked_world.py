"""The service that is fed with random requests, and what may be allowed there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cedarpy

from tests.bundles import Files, entity, manifest, tool
from tests.fuzz.forms import Chance, Hints
from tests.fuzz.hostile_json import TEXTS, JsonMaker
from tests.grpc.service import Service, serving
from tests.modules import answering, binding, deny, transform
from tests.unit.identity.making import Signer, key_set, signer

ISSUER, AUDIENCE = "https://login.example.com/", "pdp"

_PROPERTIES = {"n": {"type": "integer"}, "owner": {"type": "string"}}
READ, WRITE, SHIFT, LOCKED = (tool(name, _PROPERTIES) for name in ("read", "write", "shift", "locked"))
LISTED = (READ, WRITE, SHIFT, LOCKED)
_POLICIES = """
@id("read") permit(principal == Agent::"a", action == Action::"srv/read", resource) when { context.input.n < 10 };
@id("group") permit(principal in Group::"g", action == Action::"srv/write", resource);
@id("shift") permit(principal, action == Action::"srv/shift", resource) when { context.input.n == 7 };
@id("locked") permit(principal, action == Action::"srv/locked", resource);
@id("doc") permit(principal == Agent::"a", action == Action::"read", resource == Doc::"d");
@id("secret") forbid(principal, action, resource)
when { context has input && context.input has owner && context.input.owner == "secret" };
@id("mfa") forbid(principal, action, resource) when { context has mfa && !context.mfa };
"""
_ENTITIES = [entity("Agent", "a"), entity("Agent", "b", ("Group", "g")), entity("Group", "g")]
OPEN: Files = {
    "bundle.toml": 'name = "fuzz"\n[context]\nmfa = "Bool"\n'
    + binding("shift", tools=["srv/shift"], may_transform=True, timeout_ms=10_000)
    + binding("locked", phases=("request", "response"), tools=["srv/locked"], timeout_ms=10_000),
    "interceptors/shift.wasm": answering(transform(arguments={"n": 7})),
    "interceptors/locked.wasm": answering(deny("no"), deny("no")),
    "policies/a.cedar": _POLICIES,
    "entities/a.json": json.dumps(_ENTITIES),
    "tools/srv.json": manifest(*LISTED),
}
#: The same, and nothing is allowed.
CLOSED: Files = {**OPEN, "policies/a.cedar": '@id("never") forbid(principal, action, resource);\n' + _POLICIES}
WORLDS = {"open": OPEN, "closed": CLOSED}

_ENVOY = {"ext_proc": True, "ext_authz": True, "server_from": "fixed:srv", "subject_from": "header:x-agent"}
_AGENTGATEWAY = {"enabled": True, "subject_from": "metadata:sub", "session_from": "header:mcp-session-id"}
#: Small caches, so that they are soon full and memory level.
_CACHES = {"decision_cache": 500, "slice_cache": 500, "shape_cache": 500}


@contextmanager
def fed(directory: Path, world: str) -> Iterator[tuple[Service, Signer]]:
    """A service of this world with everything switched on, and the key of the issuer that it believes.

    Its decision log goes nowhere, but every line of it is made.
    """
    key = signer("k1", "ES256")
    keys = directory / "keys.json"
    keys.write_bytes(key_set(key))
    issuer = {
        "issuer": ISSUER,
        "jwks_file": str(keys),
        "audiences": [AUDIENCE],
        "algorithms": ["ES256"],
        "principal_type": "Agent",
        "groups_claim": "groups",
        "group_type": "Group",
    }
    sections: dict[str, Any] = {
        "identity": {"issuer": [issuer], "token_cache": 500},
        "authorize": _CACHES,
        "decision_log": {"sink": "file", "path": "/dev/null", "arguments": "full"},
        "envoy": _ENVOY,
        "agentgateway": _AGENTGATEWAY,
        "limits": {"batch_requests": 20, "listed_tools": 20},
    }
    with serving(directory, WORLDS[world], **sections) as service:
        yield service, key


#: How often fields are there that would spoil most requests, were they always there, or mostly missing.
SET = {
    "on_behalf_of": 0.04, "entities_json": 0.25, "context_json": 0.35, "definition_json": 0.05, "result_json": 0.5,
    **dict.fromkeys(("subject", "entity", "token", "action", "resource", "type", "id", "tool_call", "phase"), 0.98),
    **dict.fromkeys(("action_on_resource", "server", "tool"), 0.98),
}  # fmt: skip


class Hinted:
    """What makes sense in a request to this service."""

    def __init__(self, chance: Chance, key: Signer) -> None:
        self._chance = chance
        self._json = JsonMaker(chance)
        self._key = key
        #: Whether what is made is for AdminService.
        self.administering = False
        claims: list[dict[str, Any]] = [
            {},
            {"groups": ["g"]},
            {"sub": "a"},
            {"exp": 1},
            {"aud": "other"},
            {"iss": "x"},
            {"groups": 5},
        ]
        self._good = [self.token(**more) for more in claims]

    def token(self, **more: Any) -> str:
        """A token of the issuer with these claims."""
        now = int(time.time())
        usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "c", "iat": now, "exp": now + 86_400}
        return self._key.token({**usual, **more})

    def any_token(self) -> str:
        """A good token, one with damage, or none."""
        token = str(self._chance.choice(self._good))
        if self._chance.randrange(3) == 0:
            return self._json.damaged(token.encode()).decode("utf-8", "ignore")
        return token

    def arguments(self) -> bytes:
        """A tool call's arguments."""
        return self._json.text(lambda: {"n": self._chance.choice((1, 7, 9, 10, 11)), **self._more()})

    def _more(self) -> dict[str, Any]:
        return self._chance.mostly(({}, {"owner": "x"}), ({"owner": "secret"},))  # type: ignore[no-any-return]

    def name(self) -> Any:
        """Of a tool; of an interceptor none of those that the bundle has, which are to stay what they are."""
        names = ("pushed", "other") if self.administering else ("read", "write", "shift", "locked")
        return self._chance.mostly(names, TEXTS)

    def context(self) -> bytes:
        """A caller's context."""
        return self._json.text(lambda: self._chance.mostly(({}, {"mfa": True}), ({"mfa": False},)), 20)

    def entities(self) -> bytes:
        """A caller's entities."""
        found = [entity("Agent", "c"), entity("Agent", "d", ("Group", "g")), entity("Agent", "a", ("Group", "g"))]
        return self._json.text(lambda: self._chance.choice((found[:1], found[:2], found[2:], [])), 20)

    def definition(self) -> bytes:
        """A tool's definition: mostly the pinned one, so that it is the pinned one again after another was shown."""
        return self._json.text(lambda: self._chance.choice((READ, READ, READ, WRITE)))

    def mcp(self) -> bytes:
        """A message of MCP."""
        method = self._chance.mostly(("tools/call",), ("tools/list", "initialize", "ping", "x"), TEXTS)
        params = {"name": self._chance.mostly(("read", "write", "shift", "locked"), TEXTS), "arguments": self._more()}
        return self._json.text(lambda: {"jsonrpc": "2.0", "id": 1, "method": method, "params": params})

    def params(self) -> bytes:
        """What an MCP request or result holds, without the frame."""
        name = self._chance.mostly(("read", "write", "shift", "locked"), TEXTS)
        content = {"content": [{"type": "text", "text": "x"}]}
        kinds = ({"name": name, "arguments": {"n": 1}}, content, {"tools": [READ, WRITE]})
        return self._json.text(lambda: self._chance.choice(kinds))

    def hints(self) -> Hints:
        """By the names of fields."""
        pick = self._chance.mostly
        tools = ("read", "write", "shift", "locked")
        words: dict[str, tuple[tuple[Any, ...], ...]] = {
            "type": (("Agent", "Agent", "Agent", "Doc", "Action"), ("Group", "Server", "A::B", "if", "__cedar"), TEXTS),
            "id": (("a", "a", "b", "c", "d", "read"), ("g", "srv", "srv/read"), TEXTS),
            "server": (("srv",), ("other", "srv/x"), TEXTS),
            "tool": (tools, ("nobody", "READ"), TEXTS),
            "session_id": (("", "s"), TEXTS),
            "request_id": (("", "r"), TEXTS),
            "decision_id": (("", "0" * 32), TEXTS),
            "method": (("tools/call", "tools/list", "POST"), TEXTS),
            "key": ((":method", "content-type", "x-agent", ":status", "mcp-session-id"), TEXTS),
            "value": (("POST", "application/json", "a", "200"), TEXTS),
            "raw_value": ((b"POST", b"application/json", b"a", b"200"), (b"\xff", b"")),
            "service_names": (("srv",), TEXTS),
            "tools": (("srv/read", "srv/*", "*/*"), TEXTS),
            "phases": ((1,), (2, 0, 99)),
            "phase": ((1, 2), (0, 99)),
        }
        makers: dict[str, Any] = {name: lambda sets=sets: pick(*sets) for name, sets in words.items()}
        makers["name"] = self.name
        makers |= {"arguments_json": self.arguments, "context_json": self.context, "entities_json": self.entities}
        makers |= {"token": self.any_token, "definition_json": self.definition, "result_json": self.params}
        makers |= {"body": self.mcp, "raw_body": self.mcp, "mcp_request": self.params, "mcp_response": self.params}
        return makers


# --- what may be allowed ---------------------------------------------------------------------------------------------

_PLAIN = cedarpy.PolicySet.from_str(_POLICIES)


def plain_cedar_allows(
    subject: dict[str, str], action: str, resource: dict[str, str], context: dict[str, Any], added: Any = ()
) -> bool:
    """What Cedar says by itself, of all policies and entities of the open world."""
    known = {json.dumps(found["uid"], sort_keys=True) for found in _ENTITIES}
    fresh = [found for found in added if json.dumps(found["uid"], sort_keys=True) not in known]
    request = {"principal": subject, "action": {"type": "Action", "id": action}, "resource": resource}
    answer = cedarpy.is_authorized({**request, "context": context}, _PLAIN, [*_ENTITIES, *fresh])
    return bool(answer.allowed)
