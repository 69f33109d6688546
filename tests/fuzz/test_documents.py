"""Files, archives, configurations, tokens and HTTP bodies with damage: each is taken or refused, and nothing else.

`PDP_FUZZ_SECONDS` and `PDP_FUZZ_SEED` as in `test_requests`.
"""

from __future__ import annotations

import io
import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jwt
import pytest

from pdp.bundle.archive import read_archive, write_archive
from pdp.bundle.layout import printable
from pdp.bundle.loader import Loader
from pdp.bundle.source import SourceLimits
from pdp.cedar.options import AuthorizeOptions
from pdp.cli.config import toml_text
from pdp.cli.entry import main
from pdp.config import Config, load_config
from pdp.errors import BundleError, ConfigError, Problem
from tests.bundles import content, memory_source
from tests.fuzz.asked_world import CLOSED, OPEN, fed
from tests.fuzz.hostile_json import NUMBERS, TEXTS, JsonMaker
from tests.fuzz.running import chosen_seed, steps
from tests.gateways import authzen_service
from tests.grpc.service import question
from tests.unit.identity.making import Signer, signer

_CONFIG = b"""
[server]
listen = ["127.0.0.1:7437", "unix:/run/pdp.sock"]
workers = 2
drain_seconds = 1.5
[bundle]
source = "bundle"
debounce_ms = 50
[decision_log]
sink = "file"
path = "log.jsonl"
[limits]
message_bytes = 4096
[[callers.caller]]
name = "gateway"
rights = ["decide"]
keys_sha256 = ["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]
[[identity.issuer]]
issuer = "https://login.example.com/"
jwks_file = "keys.json"
audiences = ["pdp"]
principal_type = "Agent"
[identity.issuer.attributes]
level = "Long"
"""


def chances(short: int, name: str) -> Iterator[random.Random]:
    """A source of chance for each case."""
    seed, chance = chosen_seed(), random.Random()
    for numbers in steps(short, 20):
        for number in numbers:
            chance.seed(f"{name} {seed}/{number}")
            try:
                yield chance
            except GeneratorExit:
                print(f"{name}: seed {seed}, number {number}")  # noqa: T201 - shown where a test failed
                raise


def test_a_bundle_with_damage_loads_or_is_refused() -> None:
    """Whatever is in a bundle's files, it loads, or its problems are told with their places."""
    loader = Loader(AuthorizeOptions())
    loaded = 0
    files = {path: value for path, value in OPEN.items() if not path.startswith("interceptors/")}
    files["bundle.toml"] = 'name = "fuzz"\n[context]\nmfa = "Bool"\n'
    for chance in chances(60, "bundle"):
        path = chance.choice([*files])
        changed = {**files, path: JsonMaker(chance).damaged(content(files[path]))}
        told: Sequence[Problem] | None = None
        try:
            loader.load(memory_source(changed))
            loaded += 1
        except BundleError as error:
            told = error.problems
        assert told is None or (told and all(problem.message for problem in told))
    assert loaded > 0


def test_an_archive_with_damage_is_read_or_refused() -> None:
    """Whatever the bytes of an archive, it is read, or refused with a reason."""
    packed = io.BytesIO()
    write_archive(memory_source(OPEN), packed)
    whole = memory_source(OPEN).revision
    for chance in chances(200, "archive"):
        data = JsonMaker(chance).damaged(packed.getvalue())
        try:
            source = read_archive(data, SourceLimits())
        except BundleError:
            continue
        # gzip has a checksum: what can be read is what was written.
        assert source.revision == whole


def test_a_configuration_with_damage_is_read_or_refused(tmp_path: Path) -> None:
    """Whatever is in the configuration, it is in effect, or its mistakes are told."""
    file = tmp_path / "pdp.toml"
    for chance in chances(200, "configuration"):
        file.write_bytes(JsonMaker(chance).damaged(_CONFIG))
        variables = {
            "PDP_SERVER__WORKERS": chance.choice(TEXTS),
            "PDP_LIMITS__MESSAGE_BYTES": str(chance.choice(NUMBERS)),
        }
        told: Sequence[str] | None = None
        environ = variables if chance.randrange(4) == 0 else {}
        try:
            load_config(file, environ)
        except ConfigError as error:
            told = error.problems
        assert told is None or all(told)


#: Values as a file has them, of every kind of TOML, most of them wrong almost everywhere.
_ODD_VALUES = (
    '"a\\u0000b"', '""', '"\\u001b[2J"', '"unix:"', '"127.0.0.1:99999"', '"http://[::1"', '"header:"', "-1", "0", "1.5",
    "9223372036854775808", "9" * 5_000, "0x" + "f" * 5_000, "1e308", "inf", "nan", "true", "[]", '[""]', "[[]]", "[{}]",
    "{}", "{a = 1}", '{"a\\u0000" = "b"}', "1979-05-27", "07:32:00", "1979-05-27T07:32:00Z", "[" * 3_000, "'",
)  # fmt: skip


def _odd_configuration(chance: random.Random) -> bytes:
    """A configuration: damaged, made of any bytes, or with an odd value or name somewhere."""
    kind = chance.randrange(4)
    if kind == 0:
        return chance.randbytes(chance.randrange(60))
    if kind == 1:
        return JsonMaker(chance).damaged(_CONFIG)
    section = chance.choice([*Config.model_fields])
    names = [*getattr(Config.model_fields[section].annotation, "model_fields", {}), "unknown", '"\\u0000"']
    odd = f"{chance.choice(names)} = {chance.choice(_ODD_VALUES)}\n"
    return f"[{section}]\n{odd}".encode() if kind == 2 else _CONFIG + odd.encode()


def test_a_mistake_in_the_configuration_starts_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is in `pdp.toml`: it can be shown as a file that says the same, or `pdp serve` ends with 2 and says why
    before anything was made."""
    file, refused = tmp_path / "pdp.toml", 0
    for chance in chances(200, "serve"):
        file.write_bytes(_odd_configuration(chance))
        config, problems = None, list[str]()
        try:
            config = load_config(file, {})
        except ConfigError as error:
            problems += error.problems
        if config is None:
            refused += 1
            threads = threading.active_count()
            assert main(["serve", "--config", str(file)]) == 2
            told = capsys.readouterr()
            assert (told.out, bool(problems)) == ("", True)
            assert "Traceback" not in told.err
            assert {f"error: {printable(problem)}" for problem in problems} <= set(told.err.splitlines())
            assert threading.active_count() == threads
            assert list(tmp_path.iterdir()) == [file]
            continue
        file.write_text(toml_text(config), "utf-8")
        assert load_config(file, {}) == config
    assert refused > 0


# --- tokens ----------------------------------------------------------------------------------------------------------


def _odd_token(chance: random.Random, key: Signer, other: Signer) -> str:
    """A token: good, with odd claims or an odd header, signed by somebody else, or with damage."""
    pick, odd = chance.choice, JsonMaker(chance)
    now = int(time.time())
    claims: dict[str, Any] = {"iss": "https://login.example.com/", "aud": "pdp", "sub": "a", "exp": now + 600}
    for _ in range(chance.randrange(3)):
        claims[pick(("iss", "aud", "sub", "exp", "nbf", "iat", "groups", "act", "crit"))] = odd.value()
    header = (
        {pick(("alg", "typ", "kid", "jwk", "crit", "b64", "x5c")): odd.value()} if chance.randrange(3) == 0 else None
    )
    if header is not None and chance.randrange(2):
        header = {"alg": pick(("none", "HS256", "ES384", "es256", "RS256", "ES256"))}
    signed = (other if chance.randrange(6) == 0 else key).token(claims, header)
    return odd.damaged(signed.encode()).decode("latin-1") if chance.randrange(3) == 0 else signed


def test_no_token_is_believed_that_another_library_refuses(tmp_path: Path) -> None:
    """Whatever is in a token: where it is believed, another reader with the same key believes it too."""
    believed = 0
    with fed(tmp_path, "open") as (service, key):
        other = signer("other", "ES256")
        for chance in chances(300, "token"):
            token = _odd_token(chance, key, other)
            asked = question()
            asked.subject.token = token
            answer = service.authorize(asked)
            if answer.denial.code == 7:
                continue
            believed += 1
            public = key.private.public_key()
            read = jwt.decode(token, public, algorithms=["ES256"], audience="pdp", issuer="https://login.example.com/")
            assert read["sub"]
    assert believed > 0


# --- HTTP ------------------------------------------------------------------------------------------------------------


def test_no_body_of_authzen_is_a_bug_or_an_allow() -> None:
    """Where nothing is allowed, whatever comes by HTTP is a denial or the caller's mistake, never an allow."""
    good = [authzen_service.asked(), authzen_service.called()]
    with authzen_service.serving(CLOSED) as service:
        for chance in chances(200, "authzen"):
            odd = JsonMaker(chance)
            document = {**chance.choice(good)}
            if chance.randrange(2):
                document[chance.choice(("subject", "action", "resource", "context", "evaluations", "options"))] = (
                    odd.value()
                )
            path = chance.choice((authzen_service.EVALUATION, authzen_service.EVALUATIONS))
            body = json.dumps(document).encode()
            answer = service.ask(path, odd.damaged(body) if chance.randrange(2) else body)
            assert answer.status in (200, 400, 413), answer.body
            assert b'"decision":true' not in answer.body.replace(b" ", b"")
