"""A real Envoy with what its page shows for tokens: who the agent is, is what its token says, and nothing else."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateways.envoy import EXT_AUTHZ, EXT_PROC, shown
from tests.gateways.raw import call, message, result, send
from tests.gateways.worlds import ENVOY, World, opened, put_before
from tests.unit.identity.making import AUDIENCE, ISSUER, key_set, signer

pytestmark = [pytest.mark.slow, pytest.mark.process, pytest.mark.usefixtures("real_envoy")]

#: What the filter answers to who has no good token.
REFUSED = (401, 403)


@pytest.fixture(scope="module", params=["ext_proc", "ext_authz", "token"])
def world(
    real_envoy: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """What the page shows, for each way."""
    directory = tmp_path_factory.mktemp("envoy")
    keys = directory / "jwks.json"
    keys.write_bytes(key_set(signer()))
    if request.param == "token":
        text = shown("toml token").replace("/etc/pdp/jwks.json", str(keys))
        with opened(directory, **tomllib.loads(text)) as world:
            yield world
        return
    example = EXT_PROC if request.param == "ext_proc" else EXT_AUTHZ
    filters = shown("yaml jwt_authn").replace("/etc/envoy/jwks.json", str(keys))
    changes = (
        put_before(f"                  - name: envoy.filters.http.{request.param}\n", filters),
        put_before("                      failure_mode_allow: false\n", shown(f"yaml {request.param}")),
    )
    section: dict[str, Any] = tomllib.loads(shown("toml"))["envoy"]
    with opened(directory, *changes, example=example, envoy={**ENVOY, **section}) as world:
        yield world


def bearer(subject: str | None, **more: Any) -> dict[str, str | None]:
    """The header of an agent with a token."""
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + 600, **more}
    token = signer().token({key: value for key, value in claims.items() if value is not None})
    return {"authorization": f"Bearer {token}"}


def test_the_tokens_subject_asks(world: World) -> None:
    """An agent whose token names it may call what its policies permit, and a header says nothing about it."""
    world.upstream.reset()
    assert send(world.address, call(), x_agent="stranger", **bearer("coder")).body == result()
    refusal = send(world.address, call("write", n=11), **bearer("coder"))
    assert refusal.error == "FORBIDDEN: small numbers only"
    assert send(world.address, call(), x_agent="coder", **bearer("stranger")).error.startswith("NO_MATCHING_POLICY")
    assert world.upstream.bodies == [call()]


STRANGERS: dict[str, dict[str, str | None]] = {
    "no token": {},
    "nobody's token": bearer(None),
    "another audience": bearer("coder", aud="https://other.example.com"),
    "an old token": bearer("coder", exp=1),
    "a token of nobody": {"authorization": "Bearer x.y.z"},
    "another subject type": bearer(None, sub=["coder"]),
}


@pytest.mark.parametrize("headers", STRANGERS.values(), ids=STRANGERS)
@pytest.mark.parametrize("body", [call(), message("tools/list")], ids=["call", "list"])
def test_who_has_no_good_token_gets_nothing(world: World, headers: dict[str, str | None], body: bytes) -> None:
    """Without a token that is good, no call and no list is answered, whatever a header says."""
    world.upstream.reset()
    world.upstream.answers(b'{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"mark"}]}}')
    answer = send(world.address, body, **headers)
    assert b"mark" not in answer.body
    assert answer.status in REFUSED or b'"tools":[]' in answer.body or answer.error, answer
    assert b'"tools/call"' not in b"".join(world.upstream.bodies)
