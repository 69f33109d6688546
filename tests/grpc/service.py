"""The real service in this process, on a free port, with a real client."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2_grpc
from grpc_status import rpc_status
from jsonschema import Draft202012Validator

from pdp._gen.pdp.v1 import admin_service_pb2_grpc, decision_pb2, decision_service_pb2_grpc
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.app import App, running
from pdp.config import Config, load_config
from tests.bundles import PERMIT_ALL, Files, manifest, tool, write_bundle
from tests.waiting import wait_until

_SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "decision-record.schema.json"
_RECORD = Draft202012Validator(json.loads(_SCHEMA.read_text("utf-8")))
_PLACE = ("writer", "seq", "hash")

#: No call here takes long; this only ends what would never end.
TIMEOUT_SECONDS = 30.0

READ = tool("read", {"n": {"type": "integer"}, "owner": {"type": "string"}})
BUNDLE: Files = {"policies/a.cedar": f'@id("all") {PERMIT_ALL}', "tools/srv.json": manifest(READ)}


class Client:
    """Asks a service over one channel, or over one for each of its services."""

    def __init__(self, channel: grpc.Channel, admin: grpc.Channel | None = None) -> None:
        self.channel = channel
        self.decision = decision_service_pb2_grpc.DecisionServiceStub(channel)
        self.admin = admin_service_pb2_grpc.AdminServiceStub(admin or channel)

    def authorize(self, request: pb.AuthorizeRequest) -> pb.AuthorizeResponse:
        """One question."""
        return self.decision.Authorize(request, timeout=TIMEOUT_SECONDS)

    def batch(self, *requests: pb.AuthorizeRequest) -> pb.AuthorizeBatchResponse:
        """Many questions."""
        return self.decision.AuthorizeBatch(pb.AuthorizeBatchRequest(requests=requests), timeout=TIMEOUT_SECONDS)


class Service(Client):
    """A running service, which is its own client: its app, its bundle and its log on disk."""

    def __init__(self, app: App, directory: Path, channel: grpc.Channel, admin: grpc.Channel) -> None:
        super().__init__(channel, admin)
        self.app = app
        self.bundle = directory / "bundle"
        self.log = directory / "decisions.jsonl"

    @property
    def address(self) -> str:
        """Where DecisionService listens."""
        return self.app.addresses[0]

    def records(self, count: int) -> list[dict[str, Any]]:
        """The decisions in the log, once there are `count`, without their places in the chain.

        Each line must be a record as its published schema says.
        """
        wait_until(lambda: self._decisions().count(b"\n") >= count, f"{count} lines in the decision log")
        records = [json.loads(line) for line in self._decisions().splitlines()]
        for record in records:
            _RECORD.validate(record)
        return [{key: value for key, value in record.items() if key not in _PLACE} for record in records]

    def _decisions(self) -> bytes:
        lines = self.log.read_bytes().splitlines(keepends=True)
        return b"".join(line for line in lines if not line.startswith(b'{"kind":"checkpoint"'))

    def record_of(self, decision_id: str) -> dict[str, Any]:
        """The line about one decision, once it is there."""
        name = decision_id.encode()
        wait_until(lambda: name in self.log.read_bytes(), f"the decision {decision_id} in the log")
        wait_until(lambda: self.log.read_bytes().endswith(b"\n"), "the end of the line")
        lines = (json.loads(line) for line in self.log.read_bytes().splitlines())
        return next(line for line in lines if line.get("decision_id") == decision_id)


def connect(address: str) -> grpc.Channel:
    """A channel with a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
    return grpc.insecure_channel(address, options=options)


def configuration(directory: Path, sections: Mapping[str, Mapping[str, Any]]) -> Config:
    """The configuration of a service in `directory`; `sections` override."""
    defaults: dict[str, dict[str, Any]] = {
        "server": {"listen": ["127.0.0.1:0"], "drain_seconds": 5.0},
        "bundle": {"source": str(directory / "bundle"), "watch": False, "last_good_dir": str(directory / "state")},
        "decision_log": {
            "sink": "file",
            "path": str(directory / "decisions.jsonl"),
            "spool_dir": str(directory / "spool"),
        },
    }
    names = defaults.keys() | sections.keys()
    flags = {name: {**defaults.get(name, {}), **sections.get(name, {})} for name in names}
    return load_config(None, {}, flags)


@contextmanager
def serving(directory: Path, files: Files = BUNDLE, **sections: Mapping[str, Any]) -> Iterator[Service]:
    """A service of these files, which are written below `directory`, and a client for it."""
    write_bundle(directory / "bundle", files)
    with running(configuration(directory, sections), {}) as app:
        admin_address = (*app.admin_addresses, *app.addresses)[0]
        with connect(app.addresses[0]) as channel, connect(admin_address) as admin:
            yield Service(app, directory, channel, admin)


def tool_call(
    arguments: bytes = b"", *, server: str = "srv", name: str = "read", agent: str = "a", **more: Any
) -> pb.AuthorizeRequest:
    """May this agent call this tool?"""
    call = {"server": server, "tool": name, "arguments_json": arguments, "session_id": more.pop("session_id", "")}
    fields: dict[str, Any] = {"subject": {"entity": {"type": "Agent", "id": agent}}, "tool_call": call, **more}
    return pb.AuthorizeRequest(**fields)


def question(action: str = "read", resource: str = "d", **more: Any) -> pb.AuthorizeRequest:
    """May agent `a` do this action on this document?"""
    asked = {"action": {"type": "Action", "id": action}, "resource": {"type": "Doc", "id": resource}}
    fields: dict[str, Any] = {
        "subject": {"entity": {"type": "Agent", "id": "a"}},
        "action_on_resource": asked,
        **more,
    }
    return pb.AuthorizeRequest(**fields)


def call_method(channel: Any, method: MethodDescriptor, request: Any, timeout: float = TIMEOUT_SECONDS) -> list[Any]:
    """Call any RPC with one message, given as bytes or as a message; gives all answers."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    data = request if isinstance(request, bytes) else request.SerializeToString()
    answers = GetMessageClass(method.output_type).FromString
    if method.client_streaming:
        return [channel.stream_unary(path, None, answers)(iter([data]), timeout=timeout)]
    if method.server_streaming:
        return list(channel.unary_stream(path, None, answers)(data, timeout=timeout))
    return [channel.unary_unary(path, None, answers)(data, timeout=timeout)]


def health_of(channel: grpc.Channel) -> Any:
    """A client of the health service."""
    return health_pb2_grpc.HealthStub(channel)


class HeldReader:
    """A bundle reader that waits while it is held, so that a call can be in flight for as long as a test wants."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.entered = threading.Event()
        self.release = threading.Event()

    @property
    def watch_paths(self) -> tuple[Path, ...]:
        """As inside."""
        found: tuple[Path, ...] = self._inner.watch_paths
        return found

    def read(self, previous: Any = None) -> Any:
        """As inside, later."""
        self.entered.set()
        assert self.release.wait(TIMEOUT_SECONDS)
        return self._inner.read(previous)


def hold_reloads(service: Service) -> HeldReader:
    """Make the next reload wait until it is released."""
    held = HeldReader(service.app.store._reader)
    service.app.store._reader = held
    return held


def failure(call: Any, *arguments: Any, **options: Any) -> Any:
    """The error with which a call ends; the test fails if it does not."""
    options.setdefault("timeout", TIMEOUT_SECONDS)
    try:
        answer = call(*arguments, **options)
    except grpc.RpcError as error:
        return error
    raise AssertionError(f"no error but {answer}")


def error_info(error: Any) -> error_details_pb2.ErrorInfo:
    """The ErrorInfo of an error, which must have exactly one."""
    status = rpc_status.from_call(error)
    assert status is not None
    [detail] = status.details
    info = error_details_pb2.ErrorInfo()
    assert detail.Unpack(info)
    assert info.domain == "pdp.v1"
    return info


def refused_field(error: Any) -> str:
    """The field that an INVALID_ARGUMENT names."""
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error
    return str(error_info(error).metadata["field"])


def denial(response: pb.AuthorizeResponse) -> str:
    """The code of a denial, without its prefix."""
    assert response.decision == decision_pb2.DECISION_DENY, response
    return decision_pb2.DenialCode.Name(response.denial.code).removeprefix("DENIAL_CODE_")
