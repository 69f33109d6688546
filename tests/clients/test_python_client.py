"""What the Python client promises beside what all clients do."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import re
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pdp_client
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from pdp_client import (
    AsyncClient,
    Client,
    DecideRequest,
    DecideResponse,
    Decision,
    EntityUid,
    FilterToolsRequest,
    ListedTool,
    Tls,
    allowed,
    entity,
    error_info,
    token,
    tool_call,
)
from pdp_client._channel import make_settings

import pdp
from pdp._gen.pdp.v1 import decision_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as service_pb
from pdp.app import running
from tests.clients.credentials import Credentials
from tests.clients.runner import ROOT
from tests.clients.servers import Server, sections, serving
from tests.grpc.service import configuration

SCRIBE = entity("Agent", "scribe")
READ = DecideRequest(subject=SCRIBE, tool_call=tool_call("notes", "read", {"id": 1}))
SECRET = DecideRequest(subject=SCRIBE, tool_call=tool_call("notes", "read", {"id": 2**53 + 1}))
SECONDS = 30.0
QUICKSTART = {"bundle": {"source": str(ROOT / "examples" / "quickstart")}, "decision_log": {"sink": "none"}}
_TLS_FILES = {"ca": "ca", "certificate": "client", "key": "client.key"}


@pytest.fixture(scope="module")
def service(credentials: Credentials) -> Iterator[Server]:
    """The real service with the bundle of the conformance cases."""
    with serving({"kind": "service"}, credentials) as server:
        yield server


# --- making requests -------------------------------------------------------------------------------------------------


def test_subjects() -> None:
    """A subject is an entity, one that acts for another, or a token."""
    assert entity("Agent", "a").entity == EntityUid(type="Agent", id="a")
    assert not entity("Agent", "a").HasField("on_behalf_of")
    ann = EntityUid(type="User", id="ann")
    assert entity("Agent", "a", on_behalf_of=ann).on_behalf_of == ann
    assert token("x.y.z").WhichOneof("subject") == "token"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "{}"),
        (
            {"n": 2**63 - 1, "é": "日本 🎉", "list": [None, True, 1.5]},
            '{"n":9223372036854775807,"é":"日本 🎉","list":[null,true,1.5]}',
        ),
        (b' {"n" : 1.0e0} ', ' {"n" : 1.0e0} '),
        (b"", ""),
        (b"\xff not json", None),
    ],
)
def test_arguments(arguments: Any, text: str | None) -> None:
    """A dictionary becomes compact JSON in UTF-8 with every integer exact; bytes are sent as they are."""
    call = tool_call("s", "t", arguments, session_id="x")
    assert (call.server, call.tool, call.session_id) == ("s", "t", "x")
    assert call.arguments_json == (arguments if text is None else text.encode())


@pytest.mark.parametrize(
    "arguments",
    [{"n": float("nan")}, {"n": float("inf")}, {"t": "\ud800"}, {"d": dt.date(2026, 1, 1)}, {"b": b"x"}, {"s": {1}}],
)
def test_what_is_no_json_is_not_sent(arguments: dict[str, Any]) -> None:
    """What JSON or UTF-8 cannot say is refused, not changed into something else."""
    with pytest.raises((ValueError, TypeError)):
        tool_call("s", "t", arguments)


def test_only_an_allow_is_allowed() -> None:
    """No answer but an allow is one, among them all that a later service might send."""
    for number in (0, 2, 3, 99, -1):
        assert allowed(DecideResponse(decision=Decision.ValueType(number))) is False
    assert allowed(DecideResponse(decision=Decision.ValueType(1))) is True


def test_a_program_may_have_the_service_too() -> None:
    """The client's messages and the service's are the same, so both can be in one process."""
    answer = service_pb.DecideResponse(decision=decision_pb2.DECISION_ALLOW)
    assert allowed(DecideResponse.FromString(answer.SerializeToString()))
    assert DecideRequest.DESCRIPTOR.full_name == service_pb.DecideRequest.DESCRIPTOR.full_name


# --- errors ----------------------------------------------------------------------------------------------------------


class Failed(grpc.RpcError):
    """An error with these details."""

    def __init__(self, *trailers: tuple[str, Any]) -> None:
        super().__init__()
        self._trailers = trailers

    def trailing_metadata(self) -> Any:
        """As grpc gives it."""
        return self._trailers


def status(*details: Any) -> bytes:
    """A serialized google.rpc.Status with these details."""
    packed = [any_pb2.Any() for _ in details]
    for target, detail in zip(packed, details, strict=True):
        target.Pack(detail)
    serialized: bytes = status_pb2.Status(code=3, details=packed).SerializeToString()
    return serialized


def info(domain: str = "pdp.v1", **metadata: str) -> error_details_pb2.ErrorInfo:
    """What the service says beside a code."""
    return error_details_pb2.ErrorInfo(reason="BROKEN", domain=domain, metadata=metadata)


def test_what_an_error_says() -> None:
    """The reason and the field come from the service's own ErrorInfo, wherever it is among the details."""
    other = info("elsewhere.example", field="x")
    trailers = ("a", "b"), ("grpc-status-details-bin", status(status_pb2.Status(), other, info(field="subject")))
    assert error_info(Failed(*trailers)) == ("BROKEN", "subject")
    assert error_info(Failed(("grpc-status-details-bin", status(info())))) == ("BROKEN", "")


@pytest.mark.parametrize(
    "trailers",
    [
        (),
        (("x", "y"),),
        (("grpc-status-details-bin", b"\xff\xff"),),
        (("grpc-status-details-bin", "text"),),
        (("grpc-status-details-bin", status(info("elsewhere.example"))),),
        (("grpc-status-details-bin", status_pb2.Status(details=[any_pb2.Any(
            type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")]).SerializeToString()),),
    ],
)  # fmt: skip
def test_an_error_that_says_nothing(trailers: tuple[tuple[str, Any], ...]) -> None:
    """An error without an ErrorInfo of the service, or with bytes that are none, says nothing and breaks nothing."""
    assert error_info(Failed(*trailers)) is None


def test_an_error_without_trailers() -> None:
    """Errors that never met the service say nothing either."""
    assert error_info(grpc.RpcError()) is None


# --- clients ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), -float("inf")])
def test_there_is_always_a_deadline(service: Server, seconds: float) -> None:
    """A deadline that is none is refused, for the client and for a call."""
    with pytest.raises(ValueError, match="deadline"):
        Client(service.address, deadline_seconds=seconds)
    with Client(service.address) as client, pytest.raises(ValueError, match="deadline"):
        client.decide(READ, deadline_seconds=seconds)


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "ключ", "tab\t"])
def test_a_key_that_is_none_is_refused(key: str) -> None:
    """A key that cannot stand in a header is refused, and is not in the message."""
    with pytest.raises(ValueError, match="visible ASCII") as caught:
        Client("127.0.0.1:1", bearer=key)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize(
    "target",
    [
        "192.0.2.1:1",
        "pdp.test:1",
        "localhost.pdp.test:1",
        "127.0.0.1.pdp.test:1",
        "127.1:1",
        "2130706433:1",
        "0177.0.0.1:1",
        "[::]:1",
        "[::ffff:127.0.0.1]:1",
        "127.0.0.1:1,192.0.2.1:1",
        "ipv4:127.0.0.1:1,192.0.2.1:1",
        "dns://192.0.2.1/localhost:1",
        "xds:///localhost:1",
        "localhost@pdp.test:1",
        "localhost",
        "unixsocket.pdp.test:1",
        "127.0.0.1:1\n",
    ],
)
def test_a_key_stays_on_this_machine(target: str) -> None:
    """A key is not sent in clear to anything that is not certainly this machine; the message has no key."""
    with pytest.raises(ValueError, match="in clear") as caught:
        Client(target, bearer="the-key")
    assert "the-key" not in str(caught.value)


def test_a_client_shows_no_key(credentials: Credentials) -> None:
    """Neither the key nor the private key is in what a client or its options print."""
    private = credentials.file("client.key").read_bytes()
    tls = Tls(ca=credentials.file("ca"), certificate=credentials.file("client"), key=private)
    with Client("pdp.test:1", bearer="the-key", tls=tls) as client:
        shown = repr(client) + str(client) + repr(tls) + repr(client._settings)
    assert repr(client) == "Client('pdp.test:1')"
    assert "the-key" not in shown
    assert "PRIVATE" not in shown


def test_files_of_tls_may_be_their_content(credentials: Credentials) -> None:
    """PEM is taken as bytes, as a path, and as a path in a str; a file that is not there is an OSError."""
    with serving({"kind": "service", "tls": "server"}, credentials) as server:
        path = credentials.file("ca")
        for ca in (path, str(path), path.read_bytes()):
            with Client(server.address, tls=Tls(ca=ca), deadline_seconds=SECONDS) as client:
                assert allowed(client.decide(READ))
    with pytest.raises(OSError, match="nowhere"):
        Client("pdp.test:1", tls=Tls(ca=Path("nowhere.pem")))


@pytest.mark.parametrize("name", ["ca", "certificate", "key"])
def test_what_is_no_pem_is_refused(credentials: Credentials, name: str) -> None:
    """PEM in a `str`, which is a path, and bytes without PEM are refused, and a private key is in no message."""
    good: dict[str, Any] = {kind: credentials.file(file).read_bytes() for kind, file in _TLS_FILES.items()}
    for wrong in (good[name].decode(), good[name].decode().replace("\n", "\\n"), b"", b"no certificate"):
        with pytest.raises(ValueError, match=f"`{name}` of the TLS") as caught:
            Client("pdp.test:1", tls=Tls(**{**good, name: wrong}))
        assert "BEGIN" not in "".join(traceback.format_exception_only(caught.value))


@pytest.mark.parametrize("options", [{"max_receive_bytes": 0}, {"max_receive_bytes": -1}])
def test_no_limit_is_no_limit_either(options: dict[str, Any]) -> None:
    """What grpc takes for `no limit` is refused."""
    with pytest.raises(ValueError, match="bytes"):
        Client("127.0.0.1:1", **options)


def test_threads_share_a_client(service: Server) -> None:
    """Many threads ask through one client, and each gets the answer to its own question."""
    with Client(service.address, deadline_seconds=SECONDS) as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(client.decide, [READ, SECRET] * 50))
    assert [allowed(answer) for answer in answers] == [True, False] * 50


def test_a_closed_client_does_not_answer(service: Server) -> None:
    """After `close` a call is an error."""
    client = Client(service.address)
    client.close()
    with pytest.raises(ValueError, match="closed"):
        client.decide(READ)


def test_closing_ends_what_is_being_asked(credentials: Credentials) -> None:
    """A call in flight ends with CANCELLED when another thread closes the client."""
    with serving({"kind": "scripted", "answers": {"Decide": [{"never": True}]}}, credentials) as server:
        client = Client(server.address, deadline_seconds=SECONDS)
        closing = threading.Timer(0.3, client.close)
        closing.start()
        with pytest.raises(grpc.RpcError) as caught:
            client.decide(READ)
        closing.join()
    assert caught.value.code() is grpc.StatusCode.CANCELLED


def test_tasks_share_a_client(service: Server) -> None:
    """Many tasks ask through one client at the same time, and each gets the answer to its own question."""

    async def ask() -> list[DecideResponse]:
        async with AsyncClient(service.address, deadline_seconds=SECONDS) as client:
            assert repr(client) == f"AsyncClient({service.address!r})"
            return await asyncio.gather(*(client.decide(request) for request in [READ, SECRET] * 50))

    assert [allowed(answer) for answer in asyncio.run(ask())] == [True, False] * 50


def test_a_task_that_is_cancelled_ends(credentials: Credentials) -> None:
    """Cancelling a task that waits for an answer ends it, and the client goes on."""

    async def ask() -> bool:
        async with AsyncClient(server.address, deadline_seconds=SECONDS) as client:
            task = asyncio.create_task(client.decide(READ))
            await asyncio.sleep(0.2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return allowed(await client.decide(READ))

    answers = [{"never": True}, {"response": {"decision": "DECISION_ALLOW"}}]
    with serving({"kind": "scripted", "answers": {"Decide": answers}}, credentials) as server:
        assert asyncio.run(ask())


def test_every_method_of_asyncio_refuses_bytes_that_are_no_message(credentials: Credentials) -> None:
    """Where grpc.aio gives None for an answer that it cannot read, the client raises, for every method."""
    names = {"Authorize": "authorize", "AuthorizeBatch": "authorize_batch", "Intercept": "intercept"}
    names |= {"Decide": "decide", "FilterTools": "filter_tools"}
    answers = {method: [{"response_base64": "/////w=="}] for method in names}

    async def ask() -> list[Any]:
        async with AsyncClient(server.address, deadline_seconds=SECONDS) as client:
            requests = [getattr(pdp_client, f"{method}Request")() for method in names]
            calls = [getattr(client, name)(request) for name, request in zip(names.values(), requests, strict=True)]
            return list(await asyncio.gather(*calls, return_exceptions=True))

    with serving({"kind": "scripted", "answers": answers}, credentials) as server:
        errors = asyncio.run(ask())
    assert [type(error) for error in errors] == [grpc.aio.AioRpcError] * len(names)
    assert {error.code() for error in errors} == {grpc.StatusCode.INTERNAL}


def test_filtering_with_definitions(service: Server) -> None:
    """A tool's live definition goes along in a request made of the client's own messages."""
    definition = json.dumps({"name": "append", "inputSchema": {"type": "object"}}).encode()
    tools = [ListedTool(name="read"), ListedTool(name="renamed", definition_json=definition)]
    with Client(service.address, deadline_seconds=SECONDS) as client:
        answer = client.filter_tools(FilterToolsRequest(subject=SCRIBE, server="notes", tools=tools))
    assert list(answer.allowed) == ["read"]
    assert [hidden.name for hidden in answer.hidden] == ["renamed"]


def test_the_version_is_the_services() -> None:
    """Service and client are released together."""
    assert pdp_client.__version__ == pdp.__version__


def output_of(program: str, **environment: str) -> str:
    """What a program prints."""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=True).stdout


def test_the_page_shows_what_really_comes_out(tmp_path: Path, credentials: Credentials) -> None:
    """The README's examples run as they stand, against the quickstart bundle; the first prints what the page says."""
    page = (ROOT / "clients" / "python" / "README.md").read_text()
    first, with_asyncio, with_tls = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    [printed] = re.findall(r"```python\n[^`]*```\n\n```\n(.*?)```", page, re.DOTALL)
    with running(configuration(tmp_path, QUICKSTART), {}) as app:
        told = [output_of(block.replace("127.0.0.1:7437", app.addresses[0])) for block in (first, with_asyncio)]
    assert told == [printed, "True\n"]
    known = {**QUICKSTART, **sections({"tls": "server", "keys": True}, credentials)}
    with running(configuration(tmp_path, known), {}) as app:
        block = with_tls.replace("pdp.example.com:7437", app.addresses[0])
        block = block.replace("/etc/pdp/ca.pem", str(credentials.file("ca")))
        assert output_of(block, EDGE_KEY=credentials.keys["good"]) == "True\n"


def test_the_library_knows_every_option() -> None:
    """gRPC passes over an option that it does not know without a word, so each name has to be one that it has."""
    [library] = Path(grpc.__file__).parent.glob("_cython/cygrpc*.so")
    known = library.read_bytes()
    options = [*make_settings("a:1", Tls(server_name="b"), None, 1.0, 1).options]
    options += make_settings("a:1", None, None, 1.0, 1).options
    for name, _ in options:
        assert name.encode() in known, name
