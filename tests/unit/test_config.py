"""Configuration: one file, the environment over it, flags over that, and every mistake at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pdp.addresses import host_of, is_local
from pdp.config import Config, ServerConfig, load_config
from pdp.errors import ConfigError

#: A mistake's text up to here, without what comes after.
NOT_A_KEY = "is not a configuration key; write `PDP_SECTION__KEY`"


def _file(directory: Path, text: str | bytes) -> Path:
    path = directory / "pdp.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def _problems(path: Path | None, environ: Mapping[str, str] | None = None, **more: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ or {}, **more)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)


# --- where values come from ------------------------------------------------------------------------------------------


def test_defaults_are_safe() -> None:
    """Without any configuration the service listens on this machine only, and a forbid that fails denies."""
    config = load_config(None, {})
    assert config == Config()
    assert all(is_local(host_of(address)) for address in (*config.server.listen, *config.server.admin_listen))
    assert not config.server.allow_insecure_network
    assert config.authorize.on_forbid_error == "deny"
    assert config.decision_log.arguments == "hash"
    assert config.bundle.source is None


def test_flags_win_over_the_environment_over_the_file(tmp_path: Path) -> None:
    """Each source overrides single keys of the one below, and leaves the others."""
    path = _file(tmp_path, "[server]\nthreads = 3\ndrain_seconds = 1.5\nreflection = false\n[bundle]\nwatch = false")
    environ = {"PDP_SERVER__THREADS": "5", "PDP_SERVER__DRAIN_SECONDS": "2"}
    server = load_config(path, environ, {"server": {"threads": 7}}).server
    assert (server.threads, server.drain_seconds, server.reflection) == (7, 2.0, False)
    assert load_config(path, environ).server.threads == 5
    assert load_config(path, {}).server.threads == 3
    assert not load_config(path, environ).bundle.watch


@pytest.mark.parametrize(
    ("variable", "text", "section", "key", "value"),
    [
        ("PDP_SERVER__LISTEN", "127.0.0.1:80", "server", "listen", ("127.0.0.1:80",)),
        ("PDP_SERVER__LISTEN", "[::1]:80", "server", "listen", ("[::1]:80",)),
        ("PDP_SERVER__LISTEN", '["127.0.0.1:80", "unix:/x"]', "server", "listen", ("127.0.0.1:80", "unix:/x")),
        ("PDP_SERVER__LISTEN", "['[::1]:80',]", "server", "listen", ("[::1]:80",)),
        ("PDP_SERVER__ADMIN_LISTEN", "[]", "server", "admin_listen", ()),
        ("PDP_SERVER__REFLECTION", "false", "server", "reflection", False),
        ("PDP_SERVER__REFLECTION", "0", "server", "reflection", False),
        ("PDP_BUNDLE__SOURCE", "/a b", "bundle", "source", Path("/a b")),
        ("PDP_BUNDLE__LAST_GOOD_DIR", "", "bundle", "last_good_dir", ""),
        ("PDP_LIMITS__CONCURRENT_RPCS", "7", "limits", "concurrent_rpcs", 7),
        ("PDP_DECISION_LOG__SINK", "none", "decision_log", "sink", "none"),
        ("PDP_AUTHORIZE__ON_FORBID_ERROR", "skip", "authorize", "on_forbid_error", "skip"),
        ("PDP_server__Threads", "9", "server", "threads", 9),
    ],
)
def test_every_key_can_come_from_the_environment(variable: str, text: str, section: str, key: str, value: Any) -> None:
    """`PDP_SECTION__KEY` sets a key: plain values as they are, lists in TOML's notation or as their only item."""
    assert getattr(getattr(load_config(None, {variable: text}), section), key) == value


def test_every_key_has_a_variable() -> None:
    """No key is out of the environment's reach: a wrong value of each is a mistake of that key."""
    for section, field in Config.model_fields.items():
        for key in getattr(field.annotation, "model_fields", {}):
            if key == "last_good_dir":
                continue  # any text is a directory
            variable = f"PDP_{section}__{key}".upper()
            assert any(f"`{section}.{key}`" in problem for problem in _problems(None, {variable: "\0"})), variable


def test_sections_cannot_be_changed() -> None:
    """What was configured stays as it was."""
    config = load_config(None, {})
    with pytest.raises(ValidationError):
        config.server.threads = 2


# --- mistakes --------------------------------------------------------------------------------------------------------


def test_all_mistakes_come_at_once(tmp_path: Path) -> None:
    """Mistakes in the file, in the environment and in flags, of any section, are reported together."""
    text = """
        nope = 1
        [server]
        threads = 0
        reflection = "perhaps"
        listen = ["0.0.0.0:1", "nowhere", "127.0.0.1:1", "[::]:2"]
        [bundle]
        source = ""
        unknown = 5
        [decision_log]
        sink = "file"
        [other]
    """
    environ = {"PDP_LIMITS__MESSAGE_BYTES": "1", "PDP_BUNDLE__NOPE": "x", "PDP_SERVER_THREADS": "1"}
    found = _problems(_file(tmp_path, text), environ, flags={"telemetry": {"log_level": "loud"}})
    beginnings = [
        "`PDP_BUNDLE__NOPE` is not",
        "`PDP_SERVER_THREADS` is not",
        "`server.listen`: `0.0.0.0:1` can be reached from other machines",
        "`server.listen`: `nowhere` is not an address",
        "`server.listen`: `[::]:2` can be reached from other machines",
        "`server.threads`",
        "`server.reflection`",
        "`bundle.source`: is empty",
        "`bundle.unknown`",
        "`decision_log`: `decision_log.path` is needed",
        "`limits.message_bytes`",
        "`telemetry.log_level`",
        "`nope`",
        "`other`",
    ]
    assert len(found) == len(beginnings)
    for beginning in beginnings:
        assert [problem for problem in found if problem.startswith(beginning)], beginning


@pytest.mark.parametrize(
    "variable",
    [
        "PDP_NOPE",
        "PDP_",
        "PDP___",
        "PDP_SERVER",
        "PDP_SERVER__",
        "PDP_SERVER__NOPE",
        "PDP_SERVER__THREADS__X",
        "PDP_SERVER_THREADS",
        "PDP_NOPE__THREADS",
        "PDP_SERVER__MODEL_CONFIG",
        "PDP_BUNDLE__SERVICE_PORT",
    ],
)
def test_unknown_variables_are_mistakes(variable: str) -> None:
    """A variable with the program's prefix that configures nothing was meant to, and is reported."""
    assert _problems(None, {variable: "1"}) == [f"`{variable}` {NOT_A_KEY}"]


@pytest.mark.parametrize(
    "variable",
    [
        *("PDP_CONFIG", "PDP_STATE_DIR", "PDP_ADDRESS", "PDPX", "pdp_server__threads", "PATH"),
        *("PDP_SERVICE_HOST", "PDP_SERVICE_PORT", "PDP_SERVICE_PORT_GRPC", "PDP_PORT", "PDP_PORT_7437_TCP_ADDR"),
        *("PDP_ADMIN_SERVICE_HOST", "PDP_ADMIN_PORT_7437_TCP"),
    ],
)
def test_other_variables_are_left_alone(variable: str) -> None:
    """Variables of other programs, of this one's other parts, and of Kubernetes' service links configure nothing."""
    assert load_config(None, {variable: "tcp://10.0.0.1:7437"}) == Config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x =", "is not valid TOML: "),
        (b"\xff", "is not valid TOML: "),
        ("a = " + "[" * 100_000, "is not valid TOML: "),
        ("a = " + "9" * 5_000, "is not valid TOML: "),
        ("[bundle]\nmax_files = 0x" + "f" * 5_000, "is not valid TOML: a number in it has more than 64 bits"),
        ("[bundle]\nsource = [{a = 9223372036854775808}]", "is not valid TOML: a number in it has more than 64 bits"),
        ("[server]\nthreads = 1\nthreads = 2", "is not valid TOML: "),
    ],
)
def test_a_file_that_is_no_toml(tmp_path: Path, text: str | bytes, message: str) -> None:
    """A file that cannot be parsed is one mistake that names it, beside those of the environment."""
    path = _file(tmp_path, text)
    found = _problems(path, {"PDP_NOPE": "1"}, required=["bundle.source"])
    assert found[0].startswith(f"`{path}` {message}")
    assert found[1:] == [f"`PDP_NOPE` {NOT_A_KEY}"]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that was named has to be there, and to be one."""
    assert _problems(tmp_path / "no.toml") == [f"`{tmp_path}/no.toml` cannot be read: no such file or directory"]
    assert _problems(tmp_path) == [f"`{tmp_path}` cannot be read: is a directory"]


@pytest.mark.parametrize("value", ["5", '"x"', "[1]", "true"])
def test_a_section_that_is_none_is_not_hidden(tmp_path: Path, value: str) -> None:
    """Something else in the place of a section is a mistake, also if a key of the section comes from elsewhere."""
    path = _file(tmp_path, f"server = {value}")
    for found in (_problems(path), _problems(path, {"PDP_SERVER__THREADS": "3"})):
        assert [problem.startswith("`server`") for problem in found] == [True]


def test_required_keys_are_missed() -> None:
    """A key that a command cannot do without is a mistake like others, with a hint."""
    message = "`bundle.source` is missing; name a bundle with `--bundle PATH`"
    assert _problems(None, {"PDP_NOPE": "1"}, required=["bundle.source"]) == [f"`PDP_NOPE` {NOT_A_KEY}", message]
    assert load_config(None, {"PDP_BUNDLE__SOURCE": "x"}, required=["bundle.source"]).bundle.source == Path("x")


@pytest.mark.parametrize(
    ("section", "key", "values"),
    [
        ("server", "threads", ["0", "257", "1.5", "x", ""]),
        ("server", "drain_seconds", ["-1", "nan", "inf", "86401", "soon"]),
        ("server", "socket_mode", ["", "9", "66", "6666", "0888", "660\n", "rwx"]),
        ("server", "listen", ["[]", "", "[1]", "[['127.0.0.1:1']]"]),
        ("server", "allow_insecure_network", ["maybe", ""]),
        ("bundle", "source", ["", "a\0b"]),
        ("bundle", "max_files", ["0", "-1"]),
        ("bundle", "rescan_seconds", ["-0.1", "nan"]),
        ("authorize", "on_forbid_error", ["allow", ""]),
        ("authorize", "decision_cache", ["-1"]),
        ("decision_log", "sink", ["syslog", ""]),
        ("decision_log", "arguments", ["all", ""]),
        ("decision_log", "buffer_lines", ["0"]),
        ("limits", "message_bytes", ["1023", "1073741825"]),
        ("limits", "batch_requests", ["0"]),
        ("telemetry", "log_level", ["trace"]),
    ],
)
def test_values_out_of_range_are_refused(section: str, key: str, values: list[str]) -> None:
    """Numbers out of range, words that mean nothing and empty values are mistakes of their key."""
    for value in values:
        found = _problems(None, {f"PDP_{section}__{key}".upper(): value})
        assert all(problem.startswith(f"`{section}.{key}") for problem in found), (value, found)


# --- addresses -------------------------------------------------------------------------------------------------------

LOCAL = ["127.0.0.1:0", "127.1.2.3:80", "[::1]:65535", "localhost:1", "unix:/run/x", "unix:relative", "unix:/a:1"]
OPEN = ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.com:1", "localhost.example.com:1", "*:1", "[::ffff:10.0.0.1]:1"]
OPEN += ["ipv4:127.0.0.1", "dns:1", "127.0.0.1.nip.io:1", "0:1", "2130706433:1"]
NONE = ["", ":", ":80", "localhost", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1"]
NONE += ["::1:80", "[::1]", "unix:", "127.0.0.1:٣", "127.0.0.1:²", "unix:\0", "[::1:80", "::1]:80"]


@pytest.mark.parametrize("address", LOCAL)
def test_local_addresses_are_taken(address: str) -> None:
    """What only this machine reaches may be listened on."""
    assert ServerConfig(listen=(address,), admin_listen=(address,)).listen == (address,)


@pytest.mark.parametrize("address", OPEN)
@pytest.mark.parametrize("key", ["listen", "admin_listen"])
def test_open_addresses_need_a_word(address: str, key: str) -> None:
    """Whatever other machines might reach is refused unless it is allowed by its name, for both listeners."""
    values: dict[str, Any] = {key: [address]}
    found = _problems(None, flags={"server": values})
    assert len(found) == 1
    if "is not an address" not in found[0]:
        assert f"`{address}` can be reached from other machines" in found[0]
        allowed = load_config(None, {}, {"server": {**values, "allow_insecure_network": True}})
        assert getattr(allowed.server, key) == (address,)


@pytest.mark.parametrize("address", NONE)
def test_what_is_no_address_is_refused(address: str) -> None:
    """Everything else is no address, also where other machines are allowed."""
    flags = {"server": {"listen": [address], "allow_insecure_network": True}}
    assert _problems(None, flags=flags) == [
        f"`server.listen`: `{address}` is not an address; write `host:port`, `[v6]:port` or `unix:/path`"
    ]


def test_a_unix_socket_has_one_worker(tmp_path: Path) -> None:
    """Several workers cannot share a unix socket: with one among the addresses, more than one worker is a mistake."""
    path = _file(tmp_path, "[server]\nworkers = 2\nlisten = ['127.0.0.1:0', 'unix:/x']")
    [problem] = _problems(path)
    assert "`unix:/x` cannot be shared by several `workers`" in problem
    assert load_config(_file(tmp_path, "[server]\nlisten = ['unix:/x']"), {}).server.workers == 1
