"""Who may call: TLS, client certificates, keys, rights, and what a refused caller learns."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from pdp._gen.pdp.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    decision_pb2,
    decision_service_pb2_grpc,
    interceptor_pb2,
)
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.errors import ConfigError
from tests.certificates import Authority, Pair
from tests.grpc.service import (
    TIMEOUT_SECONDS,
    Service,
    call_method,
    error_info,
    failure,
    health_of,
    question,
    serving,
    tool_call,
)

ALLOW = decision_pb2.DECISION_ALLOW
_ADMIN = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"]
STATUS = admin_service_pb2.GetStatusRequest()


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


class Keys:
    """A key for each caller of `_callers`, made for this run."""

    edge = secrets.token_urlsafe(32)
    edge_next = secrets.token_urlsafe(32)
    operator = secrets.token_urlsafe(32)
    git_only = secrets.token_urlsafe(32)


def _callers() -> dict[str, Any]:
    return {
        "caller": [
            {"name": "edge", "keys_sha256": [_digest(Keys.edge), _digest(Keys.edge_next)]},
            {"name": "operator", "rights": ["admin", "reflect"], "keys_sha256": [_digest(Keys.operator)]},
            {"name": "git-only", "keys_sha256": [_digest(Keys.git_only)], "servers": ["git"]},
        ]
    }


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that knows its callers by keys."""
    with serving(tmp_path_factory.mktemp("service"), callers=_callers()) as running:
        yield running


def _with(key: str, scheme: str = "Bearer") -> dict[str, Any]:
    return {"metadata": [("authorization", f"{scheme} {key}")], "timeout": TIMEOUT_SECONDS}


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [Keys.edge, Keys.edge_next], ids=["the first key", "the key that replaces it"])
def test_a_caller_with_its_key_is_answered(service: Service, key: str) -> None:
    """Each active key of a caller gets answers, and the decision log names the caller and not its key."""
    answer = service.decision.Authorize(tool_call(), **_with(key))
    assert answer.decision == ALLOW
    assert service.record_of(answer.decision_id)["caller"] == "edge"
    assert key not in service.log.read_text("ascii")


def test_the_scheme_is_read_in_any_case(service: Service) -> None:
    """`bearer` is `Bearer`, as HTTP says."""
    assert service.decision.Authorize(tool_call(), **_with(Keys.edge, "bearer")).decision == ALLOW


@pytest.mark.parametrize(
    "metadata",
    [
        pytest.param([], id="nothing"),
        pytest.param([("authorization", "Bearer " + "x" * 43)], id="a wrong key"),
        pytest.param([("authorization", "Bearer ")], id="an empty key"),
        pytest.param([("authorization", "Bearer")], id="no key"),
        pytest.param([("authorization", Keys.edge)], id="no scheme"),
        pytest.param([("authorization", f"Basic {Keys.edge}")], id="another scheme"),
        pytest.param([("authorization", f"Bearer  {Keys.edge}")], id="two spaces"),
        pytest.param([("authorization", f"Bearer {Keys.edge} ")], id="a space behind"),
        pytest.param([("authorization", f"Bearer {Keys.edge[:-1]}")], id="the beginning of a key"),
        pytest.param([("authorization", f"Bearer {_digest(Keys.edge)}")], id="the digest that the configuration holds"),
        pytest.param([("authorization", f"Bearer {Keys.edge}")] * 2, id="the key twice"),
        pytest.param(
            [("authorization", "Bearer x"), ("authorization", f"Bearer {Keys.edge}")], id="a wrong and a right key"
        ),
        pytest.param([("x-authorization", f"Bearer {Keys.edge}")], id="another header"),
    ],
)
def test_a_caller_without_its_key_is_refused(service: Service, metadata: Sequence[tuple[str, str]]) -> None:
    """Whatever is wrong with the credentials, the answer is the same error, and nothing is decided or recorded."""
    error = failure(service.decision.Authorize, tool_call(request_id="a stranger's"), metadata=metadata)
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert error.details() == "the caller's credentials are missing or not valid"
    assert error_info(error).reason == "UNAUTHENTICATED"
    later = service.decision.Authorize(tool_call(), **_with(Keys.edge))
    assert service.record_of(later.decision_id)
    assert "a stranger's" not in service.log.read_text("ascii")


@pytest.mark.parametrize("name", ["Authorize", "AuthorizeBatch", "Intercept", "Decide", "FilterTools"])
@pytest.mark.parametrize("request_bytes", [b"", b"\xff\xff\xff"], ids=["an empty message", "no message"])
def test_no_rpc_answers_strangers(service: Service, name: str, request_bytes: bytes) -> None:
    """Every RPC refuses a stranger before it looks at the message."""
    method = pb.DESCRIPTOR.services_by_name["DecisionService"].methods_by_name[name]
    error = failure(lambda timeout: call_method(service.channel, method, request_bytes, timeout))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


def test_health_is_for_everyone(service: Service) -> None:
    """Who looks after the service needs no credentials for it."""
    answer = health_of(service.channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_SECONDS)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


# --- rights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", list(_ADMIN.methods), ids=lambda method: method.name)
def test_administration_is_not_for_those_who_only_ask(service: Service, method: Any) -> None:
    """A caller without the right `admin` is refused by every RPC of AdminService."""
    channel = _Authorized(service.channel, Keys.edge)
    error = failure(lambda timeout: call_method(channel, method, b"", timeout))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert error.details() == "this caller does not have the right `admin`"


class _Authorized:
    """A channel that sends a key with each call."""

    def __init__(self, channel: grpc.Channel, key: str) -> None:
        self._channel, self._key = channel, key

    def __getattr__(self, kind: str) -> Any:
        def multi_callable(*arguments: Any) -> Any:
            call = getattr(self._channel, kind)(*arguments)
            return lambda request, timeout: call(request, **{**_with(self._key), "timeout": timeout})

        return multi_callable


def test_an_operator_administers_and_does_not_ask(service: Service) -> None:
    """A caller with the right `admin` alone gets the status and no decision."""
    assert service.admin.GetStatus(STATUS, **_with(Keys.operator)).revision
    error = failure(service.decision.Authorize, tool_call(), metadata=_with(Keys.operator)["metadata"])
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


def _services(channel: grpc.Channel, key: str) -> list[str]:
    asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    answers = stub.ServerReflectionInfo(asked, **_with(key))
    return [service.name for answer in answers for service in answer.list_services_response.service]


def test_reflection_is_a_right_of_its_own(service: Service) -> None:
    """Reflection answers those with the right `reflect` and refuses others."""
    assert "pdp.v1.DecisionService" in _services(service.channel, Keys.operator)
    with pytest.raises(grpc.RpcError) as caught:
        _services(service.channel, Keys.edge)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


# --- servers ---------------------------------------------------------------------------------------------------------

_ELSEWHERE: dict[str, Any] = {
    "subject": {"entity": {"type": "Agent", "id": "a"}},
    "tool_call": {"server": "srv", "tool": "read"},
}
_BATCH = pb.AuthorizeBatchRequest(requests=[tool_call(server="git"), tool_call()])
_PAYLOAD = pb.InterceptRequest(**_ELSEWHERE, phase=interceptor_pb2.PHASE_REQUEST)
_LIST = pb.FilterToolsRequest(subject=_ELSEWHERE["subject"], server="srv")


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        pytest.param("Authorize", tool_call(), id="Authorize"),
        pytest.param("Authorize", question(), id="Authorize what is no tool call"),
        pytest.param("AuthorizeBatch", _BATCH, id="AuthorizeBatch"),
        pytest.param("Decide", pb.DecideRequest(**_ELSEWHERE), id="Decide"),
        pytest.param(
            "Intercept", pb.InterceptRequest(**_ELSEWHERE, phase=interceptor_pb2.PHASE_REQUEST), id="Intercept"
        ),
        pytest.param("FilterTools", _LIST, id="FilterTools"),
    ],
)
def test_a_caller_asks_only_about_its_servers(service: Service, name: str, request_: Any) -> None:
    """A caller that is bound to some servers is refused what is about another, in every RPC."""
    error = failure(getattr(service.decision, name), request_, metadata=_with(Keys.git_only)["metadata"])
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED


def test_a_caller_asks_about_its_servers(service: Service) -> None:
    """About a server of its own it is answered."""
    answer = service.decision.Authorize(tool_call(server="git"), **_with(Keys.git_only))
    assert answer.denial.code == decision_pb2.DENIAL_CODE_UNKNOWN_TOOL


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def _tls(directory: Path, pair: Pair, client_ca: bytes | None = None) -> dict[str, Any]:
    directory.mkdir(exist_ok=True)
    certificate, key = pair.write(directory, "server")
    found: dict[str, Any] = {"listen": ["127.0.0.1:0"], "tls_certificate": certificate, "tls_key": key}
    if client_ca is not None:
        (directory / "clients.pem").write_bytes(client_ca)
        found["tls_client_ca"] = str(directory / "clients.pem")
    return found


@contextmanager
def _asking(
    address: str, ca: bytes, pair: Pair | None = None
) -> Iterator[decision_service_pb2_grpc.DecisionServiceStub]:
    """A client over a TLS connection of its own."""
    credentials = grpc.ssl_channel_credentials(ca, *((pair.key, pair.certificate) if pair else ()))
    with grpc.secure_channel(address, credentials, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield decision_service_pb2_grpc.DecisionServiceStub(channel)


def _presented(address: str, ca: bytes) -> Any:
    """What a new connection gets: a decision or an error."""
    with _asking(address, ca) as stub:
        try:
            return stub.Authorize(tool_call(), timeout=TIMEOUT_SECONDS).decision
        except grpc.RpcError as error:
            return error.code()


def test_tls_answers_those_who_trust_its_certificate(tmp_path: Path, authority: Authority) -> None:
    """With a certificate the service answers over TLS; without encryption, or to who trusts others, it does not."""
    with serving(tmp_path, server=_tls(tmp_path / "tls", authority.issue("127.0.0.1"))) as service:
        assert _presented(service.address, authority.pem) == ALLOW
        assert _presented(service.address, Authority("another").pem) is grpc.StatusCode.UNAVAILABLE
        assert failure(service.decision.Authorize, tool_call()).code() is grpc.StatusCode.UNAVAILABLE


def test_a_client_certificate_names_the_caller(tmp_path: Path, authority: Authority) -> None:
    """A caller is known by a name in its certificate, a stranger's certificate is not enough, and none gets no
    connection."""
    callers = {"caller": [{"name": "edge", "certificates": ["spiffe://example.org/edge"]}]}
    server = _tls(tmp_path / "tls", authority.issue("127.0.0.1"), authority.pem)
    with serving(tmp_path, server=server, callers=callers) as service:
        with _asking(service.address, authority.pem, authority.issue("spiffe://example.org/edge")) as stub:
            answer = stub.Authorize(tool_call(), timeout=TIMEOUT_SECONDS)
            assert service.record_of(answer.decision_id)["caller"] == "edge"
            # A key that is sent decides, and this one is wrong.
            error = failure(stub.Authorize, tool_call(), metadata=[("authorization", "Bearer x")])
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        with _asking(service.address, authority.pem, authority.issue("spiffe://example.org/other")) as stub:
            assert failure(stub.Authorize, tool_call()).code() is grpc.StatusCode.UNAUTHENTICATED
        for stranger in (None, Authority("another").issue("spiffe://example.org/edge")):
            with _asking(service.address, authority.pem, stranger) as stub:
                assert failure(stub.Authorize, tool_call()).code() is grpc.StatusCode.UNAVAILABLE


def _degraded(service: Service, address: str, ca: bytes) -> list[str]:
    with grpc.secure_channel(address, grpc.ssl_channel_credentials(ca)) as channel:
        stub = admin_service_pb2_grpc.AdminServiceStub(channel)
        return list(stub.GetStatus(STATUS, timeout=TIMEOUT_SECONDS).degraded_reasons)


def test_a_new_certificate_serves_new_connections(tmp_path: Path) -> None:
    """A certificate that replaces another is used from the next connection on, and open connections go on; one that is
    not whole leaves the old one in use, and the status says so."""
    first, second = Authority("first"), Authority("second")
    server = _tls(tmp_path / "tls", first.issue("127.0.0.1"))
    with serving(tmp_path, server=server) as service, _asking(service.address, first.pem) as open_stub:
        assert open_stub.Authorize(tool_call(), timeout=TIMEOUT_SECONDS).decision == ALLOW
        replacement = second.issue("127.0.0.1")
        (tmp_path / "tls" / "server.pem").write_bytes(replacement.certificate)
        assert _presented(service.address, first.pem) == ALLOW
        (reason,) = _degraded(service, service.address, first.pem)
        assert "is not the key of" in reason
        replacement.write(tmp_path / "tls", "server")
        assert _presented(service.address, second.pem) == ALLOW
        assert _presented(service.address, first.pem) is grpc.StatusCode.UNAVAILABLE
        assert _degraded(service, service.address, second.pem) == []
        assert open_stub.Authorize(tool_call(), timeout=TIMEOUT_SECONDS).decision == ALLOW


# --- what does not start ---------------------------------------------------------------------------------------------

_OPEN = {"listen": ["0.0.0.0:0"]}


def _problems(directory: Path, **sections: Mapping[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught, serving(directory, **sections):
        pytest.fail("it started")
    return "\n".join(caught.value.problems)


def test_an_open_listener_needs_tls_and_callers(tmp_path: Path, authority: Authority) -> None:
    """For other machines the service listens only with TLS and a way to know who calls, unless it is told that it may
    be insecure."""
    tls = {**_tls(tmp_path / "tls", authority.issue("127.0.0.1")), **_OPEN}
    assert "TLS is not configured" in _problems(tmp_path / "a", server=_OPEN, callers=_callers())
    assert "nobody has to say who they are" in _problems(tmp_path / "b", server=tls)
    with serving(tmp_path / "c", server=tls, callers=_callers()) as service:
        port = service.address.rpartition(":")[2]
        with _asking(f"127.0.0.1:{port}", authority.pem) as stub:
            assert stub.Authorize(tool_call(), **_with(Keys.edge)).decision == ALLOW


def test_what_is_wrong_with_the_files_is_told(tmp_path: Path, authority: Authority) -> None:
    """Files that are missing, no certificate, no key or not a pair keep the service from starting."""
    good = _tls(tmp_path / "good", authority.issue("127.0.0.1"))
    other = _tls(tmp_path / "other", authority.issue("127.0.0.1"))
    (tmp_path / "junk").touch(0o600)
    (tmp_path / "junk").write_text("junk")
    junk = str(tmp_path / "junk")
    wrong = {
        "is not the key of": {**good, "tls_key": other["tls_key"]},
        "holds no certificate in PEM": {**good, "tls_certificate": junk},
        "holds no private key": {**good, "tls_key": junk},
        "cannot be read": {**good, "tls_key": junk + "-missing"},
        "`tls_certificate` and `tls_key` go together": {"tls_key": junk, "listen": ["127.0.0.1:0"]},
        "`tls_client_ca` goes with": {"tls_client_ca": junk, "listen": ["127.0.0.1:0"]},
        "no certificate in PEM": {**good, "tls_client_ca": junk},
    }
    for number, (text, server) in enumerate(wrong.items()):
        assert text in _problems(tmp_path / str(number), server=server)


@pytest.mark.parametrize(
    ("callers", "text"),
    [
        ([{"name": "a"}], "give `keys_sha256` or `certificates`"),
        ([{"name": "a", "keys_sha256": ["hunter2"]}], "is not a SHA-256 digest"),
        ([{"name": "a", "keys_sha256": [_digest("k")]}] * 2, "name `a` is given twice"),
        ([{"name": name, "keys_sha256": [_digest("k")]} for name in "ab"], "a key belongs to several callers"),
        ([{"name": "a", "certificates": ["x"]}], "which nobody checks without `server.tls_client_ca`"),
        ([{"name": "a", "keys_sha256": [_digest("k")], "rights": []}], "callers.caller.0.rights"),
        ([{"name": "a", "keys_sha256": [_digest("k")], "rights": ["root"]}], "callers.caller.0.rights.0"),
        ({"name": "a"}, "write `[[callers.caller]]`"),
    ],
)
def test_callers_that_make_no_sense_are_refused(tmp_path: Path, callers: Any, text: str) -> None:
    """A caller that cannot be known, or told from another, is a mistake; no message repeats what may be a key."""
    problems = _problems(tmp_path, callers={"caller": callers})
    assert text in problems
    assert "hunter2" not in problems
