"""Plain functions behind `guarded`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from pdp_client import AsyncClient, Client, Subject, entity
from pdp_client.integrations.errors import DeniedError, IdentityError, RefusedError, UnavailableError, UnreadableError
from pdp_client.integrations.functions import guarded

from tests.bundles import tool
from tests.examples.fake_pdp import FakePdp, failing, serving_fake, with_fields
from tests.grpc.service import serving
from tests.runtimes.conftest import (
    SECRET,
    Serve,
    bundle,
    with_arguments,
    with_denied_results,
    with_redaction,
)

CODER = entity("Agent", "coder")
COUNT = {"type": "integer"}
ANY = tool("read", {"path": {"type": "string"}, "count": COUNT}, description="Reads a note.")

Connect = Callable[..., Client]


class Reader:
    """A function to guard, and what it was called with."""

    def __init__(self, client: Client | AsyncClient, subject: Any = CODER, result: Any = "text") -> None:
        self.calls: list[dict[str, Any]] = []
        self.result = result

        @guarded(client, server="notes", subject=subject)
        def read(path: Any, count: Any = 1) -> Any:
            self.calls.append({"path": path, "count": count})
            return self.result

        self.read = read


def test_an_allowed_call_is_made_and_its_result_returned(connect: Connect) -> None:
    """With an allow the function runs, and the caller gets what it returned."""
    reader = Reader(connect(bundle(ANY)), result={"lines": [1, 2.5, None, True, "ä"]})
    assert reader.read("a.txt") == {"lines": [1, 2.5, None, True, "ä"]}
    assert reader.calls == [{"path": "a.txt", "count": 1}]


def test_a_denied_call_is_not_made(connect: Connect) -> None:
    """A denial is an exception with code, message and decision, and the function does not run."""
    reader = Reader(connect(bundle(ANY)))
    with pytest.raises(DeniedError) as caught:
        reader.read(path="../secret")
    assert (caught.value.code, caught.value.message) == ("FORBIDDEN", "paths with `..` are not allowed")
    assert str(caught.value) == "FORBIDDEN: paths with `..` are not allowed"
    assert caught.value.decision_id
    assert reader.calls == []


def test_defaults_are_decided_about_too(connect: Connect) -> None:
    """What the function would get without being told is in the question, so a policy sees it."""
    forbid = "forbid (principal, action, resource) when { context.input has count && context.input.count == 1 };"
    reader = Reader(connect({**bundle(ANY), "policies/b.cedar": forbid}))
    with pytest.raises(DeniedError):
        reader.read("a.txt")
    assert reader.read("a.txt", count=2) == "text"


def test_the_function_gets_the_authorized_arguments(connect: Connect) -> None:
    """Arguments that an interceptor wrote are those that the function is called with."""
    reader = Reader(connect(with_arguments(bundle(ANY), path="b.txt", count=7)))
    assert reader.read("a.txt") == "text"
    assert reader.calls == [{"path": "b.txt", "count": 7}]


def test_arguments_that_the_function_does_not_take_end_the_call(connect: Connect) -> None:
    """Authorized arguments that are not the function's are a refusal, and it does not run."""
    loose = {"type": "object"}
    reader = Reader(connect(with_arguments(bundle({**ANY, "inputSchema": loose}), other=1)))
    with pytest.raises(UnreadableError, match="do not fit"):
        reader.read("a.txt")
    assert reader.calls == []


def test_a_secret_in_a_result_is_redacted(connect: Connect) -> None:
    """The caller gets the result as the interceptors left it."""
    reader = Reader(connect(with_redaction(bundle(ANY))), result={"token": f"it is {SECRET}"})
    assert reader.read("a.txt") == {"token": "it is [redacted:github-token]"}


def test_a_result_that_is_denied_stays_here(connect: Connect) -> None:
    """When an interceptor denies the result, the function has run but the caller gets none of it."""
    reader = Reader(connect(with_denied_results(bundle(ANY))))
    with pytest.raises(DeniedError, match="INTERCEPTOR_DENIED: this result stays here"):
        reader.read("a.txt")
    assert len(reader.calls) == 1


@pytest.mark.parametrize(
    "argument",
    [object(), {1: "a"}, (1, 2), {"a", "b"}, b"bytes", float("nan"), float("inf"), "\ud800", {1: "a", "1": "b"}],
    ids=["object", "number-key", "tuple", "set", "bytes", "nan", "infinity", "surrogate", "two-keys"],
)
def test_what_is_no_json_is_refused_before_anybody_is_asked(argument: object, nowhere: Client) -> None:
    """An argument that JSON cannot say exactly is refused, and the service, which is not there, is not asked."""
    reader = Reader(nowhere)
    with pytest.raises(UnreadableError, match="the arguments cannot be written as JSON"):
        reader.read(argument)
    assert reader.calls == []


def test_arguments_without_end_are_refused(nowhere: Client) -> None:
    """An argument that contains itself is refused."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(UnreadableError):
        Reader(nowhere).read(endless)


def test_arguments_that_do_not_fit_are_the_callers_mistake(nowhere: Client) -> None:
    """A call that Python itself would refuse is the same TypeError."""
    with pytest.raises(TypeError, match="unexpected keyword"):
        Reader(nowhere).read("a", unknown=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "result", [object(), (1, 2), b"x", {1: 2}, iter("a")], ids=["object", "tuple", "bytes", "key", "iterator"]
)
def test_a_result_that_is_no_json_stays_here(result: object, connect: Connect) -> None:
    """A result that cannot be looked at is not given to anybody."""
    reader = Reader(connect(bundle(ANY)), result=result)
    with pytest.raises(UnreadableError, match="the result cannot be written as JSON"):
        reader.read("a.txt")


def test_without_the_service_nothing_runs(nowhere: Client) -> None:
    """When nobody answers, the call is refused with a fixed text, and the cause is chained."""
    reader = Reader(nowhere)
    with pytest.raises(UnavailableError, match="the policy decision point gave no decision") as caught:
        reader.read("a.txt")
    assert isinstance(caught.value.__cause__, grpc.RpcError)
    assert reader.calls == []


def test_a_service_that_stops_takes_the_permission_with_it(tmp_path: Path) -> None:
    """A call right after the service was stopped is refused, with the client that was answered before."""
    with ExitStack() as running:
        service = running.enter_context(serving(tmp_path, bundle(ANY)))
        with Client(service.address) as client:
            reader = Reader(client)
            assert reader.read("a.txt") == "text"
            running.close()
            with pytest.raises(UnavailableError):
                reader.read("a.txt")
    assert len(reader.calls) == 1


def test_a_closed_client_refuses(serve: Serve) -> None:
    """A client that was closed gives no decision."""
    client = Client(serve(bundle(ANY)).address)
    client.close()
    with pytest.raises(UnavailableError):
        Reader(client).read("a.txt")


def _raising() -> Subject:
    raise RuntimeError("no session")


@pytest.mark.parametrize(
    "subject",
    [
        None,
        "Agent::coder",
        lambda: None,
        _raising,
        lambda _: CODER,
        Subject(),
        entity("Agent", ""),
        lambda: Subject(token=""),
    ],
    ids=["none", "text", "says-nothing", "raises", "wrong-parameters", "empty", "no-id", "no-token"],
)
def test_nobody_in_particular_is_refused(subject: Any, connect: Connect) -> None:
    """Without an identity the call is refused with a fixed text, whyever there is none."""
    reader = Reader(connect(bundle(ANY)), subject=subject)
    with pytest.raises(IdentityError, match="it is not known who makes this call"):
        reader.read("a.txt")
    assert reader.calls == []


def test_a_callable_says_who_each_call_is_of(connect: Connect) -> None:
    """The subject is asked for at every call."""
    agents = iter(["coder", "guest"])
    reader = Reader(connect(bundle(ANY)), subject=lambda: entity("Agent", next(agents)))
    assert reader.read("a.txt") == "text"
    with pytest.raises(DeniedError, match="NO_MATCHING_POLICY"):
        reader.read("a.txt")


def test_an_exception_of_the_function_passes(connect: Connect) -> None:
    """What the function raises is the caller's to see."""

    @guarded(connect(bundle(ANY)), server="notes", subject=CODER)
    def read(path: str) -> str:
        raise KeyError(path)

    with pytest.raises(KeyError):
        read("a.txt")


def test_the_name_of_the_tool_can_be_another(connect: Connect) -> None:
    """`tool` is what the bundle calls the function."""

    @guarded(connect(bundle(ANY)), server="notes", tool="read", subject=CODER)
    def look(path: str) -> str:
        return path

    assert look("a.txt") == "a.txt"
    assert look.__name__ == "look"


def _many(*paths: str) -> None: ...
def _any(**paths: str) -> None: ...
def _positional(path: str, /) -> None: ...


@pytest.mark.parametrize("function", [_many, _any, _positional])
def test_parameters_without_names_cannot_be_guarded(function: Any, nowhere: Client) -> None:
    """A function whose arguments cannot be members of an object is refused when it is decorated."""
    with pytest.raises(ValueError, match="has no name that an argument can have"):
        guarded(nowhere, server="notes", subject=CODER)(function)


def test_coroutine_functions_are_guarded_with_either_client(serve: Serve) -> None:
    """A coroutine function is allowed, denied, and gets the authorized arguments, like any other function."""
    address = serve(with_redaction(bundle(ANY))).address

    async def who() -> Subject:
        return CODER

    async def asked(client: Client | AsyncClient) -> list[str]:
        @guarded(client, server="notes", subject=who)
        async def read(path: str) -> str:
            return f"{path} {SECRET}"

        with pytest.raises(DeniedError, match="FORBIDDEN"):
            await read("../a")
        return [await read("a"), *await asyncio.gather(read("b"), read("c"))]

    async def both() -> None:
        async with AsyncClient(address) as client:
            assert await asked(client) == [f"{name} [redacted:github-token]" for name in "abc"]
        with Client(address) as client:
            assert await asked(client) == [f"{name} [redacted:github-token]" for name in "abc"]

    asyncio.run(both())


def test_coroutine_functions_are_refused_without_the_service(nowhere: Client) -> None:
    """Without a decision a coroutine function does not run, whichever client asks, one that was closed too."""
    calls: list[str] = []

    async def refused(client: Client | AsyncClient) -> None:
        @guarded(client, server="notes", subject=CODER)
        async def read(path: str) -> str:
            calls.append(path)
            return path

        with pytest.raises(UnavailableError):
            await read("a")

    async def run() -> None:
        await refused(nowhere)
        client = AsyncClient("unix:/nonexistent/pdp.sock")
        await refused(client)
        await client.close()
        await refused(client)

    asyncio.run(run())
    assert calls == []


def test_a_plain_function_needs_a_plain_client() -> None:
    """A function that cannot wait is refused with an `AsyncClient` when it is decorated."""

    async def decorate() -> None:
        async with AsyncClient("unix:/nonexistent/pdp.sock") as client:
            with pytest.raises(TypeError, match="no coroutine function"):
                guarded(client, server="notes", subject=CODER)(_named)

    asyncio.run(decorate())


def _named(path: str) -> str:
    return path


@pytest.fixture
def fake() -> Any:
    """A service that answers as a test says."""
    with serving_fake() as pdp:
        yield pdp


@pytest.mark.parametrize(
    ("method", "twist"),
    [
        ("Decide", with_fields(decision=0)),
        ("Decide", with_fields(decision=99)),
        ("Decide", with_fields(decision=2)),
        ("Decide", with_fields(arguments_json=None)),
        ("Decide", with_fields(arguments_json=b"[]")),
        ("Decide", with_fields(arguments_json=b'{"path": 1e999}')),
        ("Decide", with_fields(arguments_json=b'{"path": NaN}')),
        ("Decide", with_fields(arguments_json=b"\xff")),
        ("Decide", failing(grpc.StatusCode.INTERNAL)),
        ("Decide", failing(grpc.StatusCode.UNAUTHENTICATED)),
    ],
)
def test_only_an_allow_with_arguments_lets_the_function_run(method: str, twist: Any, fake: FakePdp) -> None:
    """Whatever else the service says, the function does not run."""
    fake.twists[method] = twist
    with Client(fake.address) as client:
        reader = Reader(client)
        with pytest.raises(RefusedError):
            reader.read("a.txt")
    assert reader.calls == []


@pytest.mark.parametrize(
    "twist",
    [
        with_fields(decision=0),
        with_fields(decision=99),
        with_fields(result_json=None),
        with_fields(result_json=b"{"),
        with_fields(result_json=None, arguments_json=b"{}"),
        failing(grpc.StatusCode.RESOURCE_EXHAUSTED),
    ],
)
def test_only_an_allow_with_a_result_lets_it_out(twist: Any, fake: FakePdp) -> None:
    """Whatever else the service says about a result, nobody gets it."""
    fake.twists["Intercept"] = twist
    with Client(fake.address) as client, pytest.raises(RefusedError):
        Reader(client).read("a.txt")


def test_the_result_is_looked_at_with_the_decision_that_allowed_the_call(fake: FakePdp) -> None:
    """The question about the result names the decision, the subject, and the call as it was authorized."""
    seen: list[Any] = []

    def note(request: Any, honest: Any, _context: Any) -> Any:
        seen.append(request)
        return honest

    fake.twists["Decide"] = with_fields(arguments_json=b'{"path": "b",  "count": 1}')
    fake.twists["Intercept"] = note
    with Client(fake.address) as client:
        Reader(client).read("a")
    [request] = seen
    assert request.decision_id == "d"
    assert request.tool_call.arguments_json == b'{"path": "b",  "count": 1}'
    assert request.subject.entity.id == "coder"
    assert (request.result_json, request.result_is_error) == (b'"text"', False)


def test_a_code_that_nobody_knows_yet_is_shown_as_its_number(fake: FakePdp) -> None:
    """A denial with a code of a later version is a denial like any other."""

    def deny(_request: Any, honest: Any, _context: Any) -> Any:
        honest.decision = 2
        honest.denial.code = 99
        honest.denial.message = "later"
        return honest

    fake.twists["Decide"] = deny
    with Client(fake.address) as client, pytest.raises(DeniedError, match="99: later"):
        Reader(client).read("a")
