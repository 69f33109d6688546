"""Interceptors come, change and go while the service answers: by file, and by `AdminService`."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from pdp._gen.pdp.v1 import admin_service_pb2, decision_pb2, interceptor_pb2
from pdp._gen.pdp.v1 import decision_service_pb2 as pb
from pdp.bundle.archive import read_archive, write_archive
from pdp.bundle.source import SourceLimits
from tests.bundles import PERMIT_ALL, Files, manifest, memory_source
from tests.grpc.service import READ, TIMEOUT_SECONDS, Client, Service, connect, error_info, failure, serving
from tests.modules import answering, binding, deny, module, transform
from tests.waiting import wait_until

ALLOW, DENY = decision_pb2.DECISION_ALLOW, decision_pb2.DECISION_DENY
COMMENTED = '# Ours.\nname = "mine"  # and nobody else\'s\n'
FILES: Files = {"policies/a.cedar": PERMIT_ALL, "tools/srv.json": manifest(READ), "bundle.toml": COMMENTED}
DENIES = answering(deny("stop"))


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service without interceptors."""
    with serving(tmp_path, FILES) as running:
        yield running


def decision(client: Client) -> pb.InterceptResponse:
    """The answer for one call."""
    fields: dict[str, Any] = {
        "subject": {"entity": {"type": "Agent", "id": "a"}},
        "tool_call": {"server": "srv", "tool": "read", "arguments_json": b"{}"},
    }
    question = pb.InterceptRequest(phase=interceptor_pb2.PHASE_REQUEST, **fields)
    return client.decision.Intercept(question, timeout=TIMEOUT_SECONDS)


def bound(name: str = "guard", **more: Any) -> interceptor_pb2.InterceptorBinding:
    """A binding for calls to `srv`."""
    fields: dict[str, Any] = {"name": name, "phases": [interceptor_pb2.PHASE_REQUEST], "tools": ["srv/*"], **more}
    return interceptor_pb2.InterceptorBinding(**fields)


def parts(
    content: bytes, binding: interceptor_pb2.InterceptorBinding | None = None, step: int = 100
) -> Iterator[admin_service_pb2.PutInterceptorRequest]:
    """The messages of a push."""
    yield admin_service_pb2.PutInterceptorRequest(binding=binding or bound())
    for at in range(0, len(content), step):
        yield admin_service_pb2.PutInterceptorRequest(chunk=content[at : at + step])


def push(service: Service, content: bytes, **more: Any) -> admin_service_pb2.PutInterceptorResponse:
    """Push a module."""
    return service.admin.PutInterceptor(parts(content, bound(**more)), timeout=TIMEOUT_SECONDS)


def refusal(service: Service, content: bytes, **more: Any) -> Any:
    """The error that a push ends with."""
    return failure(lambda *, timeout: push(service, content, **more))


def remove(service: Service, name: str = "guard") -> admin_service_pb2.DeleteInterceptorResponse:
    """Remove an interceptor."""
    request = admin_service_pb2.DeleteInterceptorRequest(name=name)
    return service.admin.DeleteInterceptor(request, timeout=TIMEOUT_SECONDS)


def listed(service: Service) -> admin_service_pb2.ListInterceptorsResponse:
    """What the service lists."""
    request = admin_service_pb2.ListInterceptorsRequest()
    return service.admin.ListInterceptors(request, timeout=TIMEOUT_SECONDS)


def modules(service: Service) -> list[str]:
    """The names of the modules in the bundle."""
    return sorted(path.name for path in (service.bundle / "interceptors").glob("*"))


# --- by file ---------------------------------------------------------------------------------------------------------


def test_a_module_that_is_copied_in_counts(tmp_path: Path) -> None:
    """With a watched bundle a new module and its binding change the next answers, and their removal changes it back."""
    with serving(tmp_path, FILES, bundle={"watch": True, "debounce_ms": 0}) as service:
        assert decision(service).decision == ALLOW
        (service.bundle / "interceptors").mkdir()
        (service.bundle / "interceptors/guard.wasm").write_bytes(DENIES)
        (service.bundle / "bundle.toml").write_text(COMMENTED + binding("guard"))
        wait_until(lambda: decision(service).decision == DENY, "the module is asked")
        (service.bundle / "bundle.toml").write_text(COMMENTED)
        wait_until(lambda: decision(service).decision == ALLOW, "the module is asked no more")


# --- by AdminService -------------------------------------------------------------------------------------------------


def test_a_push_counts_at_once(service: Service) -> None:
    """A pushed interceptor is in the bundle, under a new revision, in the next answer and in the list."""
    before = decision(service).revision
    answer = push(service, DENIES)
    assert (answer.changed, list(answer.problems)) == (True, [])
    assert answer.sha256 == hashlib.sha256(DENIES).hexdigest()
    denied = decision(service)
    assert (denied.decision, denied.denial.message, denied.revision) == (DENY, "stop", answer.revision)
    assert answer.revision not in ("", before)
    (interceptor,) = listed(service).interceptors
    assert interceptor.origin == admin_service_pb2.INTERCEPTOR_ORIGIN_PUSHED
    assert interceptor.kind == admin_service_pb2.MODULE_KIND_CORE
    assert (interceptor.size_bytes, list(interceptor.imports)) == (len(DENIES), [])
    assert (interceptor.binding.name, interceptor.binding.sha256) == ("guard", answer.sha256)
    assert (interceptor.binding.order, interceptor.binding.fuel, interceptor.binding.memory_mib) == (
        100,
        50_000_000,
        16,
    )
    assert interceptor.binding.timeout.ToMilliseconds() == 50
    assert list(interceptor.binding.grants) == ["log"]


def test_a_push_is_in_the_bundle_on_disk(tmp_path: Path) -> None:
    """What was pushed is there after a restart, and what the bundle's author wrote is still there."""
    with serving(tmp_path, FILES) as service:
        revision = push(service, DENIES, on_error=interceptor_pb2.ON_ERROR_ALLOW, order=-7).revision
        text = (service.bundle / "bundle.toml").read_text()
        assert text.startswith(COMMENTED)
        assert 'on_error = "allow"' in text
    with serving(tmp_path, {}) as again:
        assert decision(again).revision == revision
        (interceptor,) = listed(again).interceptors
        assert interceptor.binding.order == -7


def test_every_part_of_a_binding_arrives(service: Service) -> None:
    """All that a binding can say is written, loaded, and listed as it was sent."""
    sent = bound(
        phases=[interceptor_pb2.PHASE_REQUEST, interceptor_pb2.PHASE_RESPONSE],
        tools=["srv/*", "other/*"],
        order=3,
        mode=interceptor_pb2.INTERCEPTOR_MODE_SHADOW,
        on_error=interceptor_pb2.ON_ERROR_ALLOW,
        may_transform=True,
        timeout=Duration(seconds=1),
        memory_mib=4,
        fuel=1_000_000,
        config_json=b'{"a":[1,{"b":"x\\ny"}],"c":1.5,"d":true}',
        annotations={"risk": "Long", "names": "Set<String>"},
        grants=["random", "log"],
        prewarm=1,
    )
    sent.name = "all"
    answer = service.admin.PutInterceptor(parts(answering(deny(), deny()), sent), timeout=TIMEOUT_SECONDS)
    (interceptor,) = listed(service).interceptors
    found = interceptor.binding
    assert found.sha256 == answer.sha256
    sent.sha256 = answer.sha256
    sent.grants.sort()
    assert found == sent


def test_a_push_replaces_the_one_of_its_name(service: Service) -> None:
    """A second push under a name leaves one binding and one module, the new ones."""
    push(service, DENIES)
    push(service, answering(), name="other")
    first = modules(service)
    answer = push(service, answering(deny("later")))
    assert answer.changed
    assert decision(service).denial.message == "later"
    assert [interceptor.binding.name for interceptor in listed(service).interceptors] == ["guard", "other"]
    assert len(modules(service)) == len(first) == 2
    assert not push(service, answering(deny("later"))).changed


def test_a_binding_of_the_authors_is_replaced_and_its_module_stays(tmp_path: Path) -> None:
    """A push may replace what the bundle's author bound; it removes no file that it did not make."""
    files = {**FILES, "bundle.toml": COMMENTED + binding("guard"), "interceptors/guard.wasm": answering()}
    with serving(tmp_path, files) as service:
        assert listed(service).interceptors[0].origin == admin_service_pb2.INTERCEPTOR_ORIGIN_BUNDLE
        push(service, DENIES)
        assert decision(service).decision == DENY
        assert "guard.wasm" in modules(service)
        remove(service)
        assert modules(service) == ["guard.wasm"]


def test_a_removal_counts_at_once(service: Service) -> None:
    """A removed interceptor is gone from the bundle, the list and the answers, and the bundle is as it was."""
    before = decision(service).revision
    push(service, DENIES)
    answer = remove(service)
    assert (answer.changed, answer.revision) == (True, before)
    assert decision(service).decision == ALLOW
    assert (service.bundle / "bundle.toml").read_text() == COMMENTED
    assert modules(service) == []


def test_what_is_not_there_cannot_be_removed(service: Service) -> None:
    """A name without an interceptor is NOT_FOUND, no name is a malformed request."""
    assert failure(lambda **_: remove(service, "nobody")).code() is grpc.StatusCode.NOT_FOUND
    assert failure(lambda **_: remove(service, "")).code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        (b"not wasm", "MODULE_REFUSED_LOAD", "it is no WebAssembly"),
        (b"\0asm\1\0\0\0\xff", "MODULE_REFUSED_LOAD", "it does not compile"),
        (DENIES[:-3], "MODULE_REFUSED_LOAD", "it does not compile"),
        (module('(module (import "env" "open" (func)))'), "MODULE_REFUSED_LOAD", "it does not export `pdp_abi_v1`"),
        (module(
            '(module (import "env" "open" (func)) (import "pdp" "random" (func (param i32 i32) (result i32)))'
            '(memory (export "memory") 1) (func (export "pdp_abi_v1"))'
            '(func (export "pdp_alloc") (param i32) (result i32) (i32.const 8))'
            '(func (export "pdp_on_request") (param i32 i32) (result i64) (i64.const 0)))'
        ), "MODULE_REFUSED_LOAD", "it imports `env.open`, which the host does not have; `pdp.random`"),
        (answering("{}"), "MODULE_REFUSED_BAD_OUTPUT", "its trial request failed: `verdict` is missing"),
        (answering(transform(arguments={})), "MODULE_REFUSED_BAD_OUTPUT", "`transform` without the right to"),
        (answering('{"error":"no key"}'), "MODULE_REFUSED_GUEST_ERROR", "no key"),
    ],
    ids=["text", "garbage", "cut", "no marker", "imports", "no verdict", "no right", "its own error"],
)  # fmt: skip
def test_a_bad_module_is_refused_with_the_reason(service: Service, content: bytes, reason: str, words: str) -> None:
    """A module that does not load is INVALID_ARGUMENT with class and reason, and everything is as it was."""
    push(service, DENIES)
    before = (service.bundle / "bundle.toml").read_bytes(), modules(service), decision(service).revision
    for name in ("guard", "new"):
        error = refusal(service, content, name=name)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert error_info(error).reason == reason
        assert words in (error.details() or "")
    assert ((service.bundle / "bundle.toml").read_bytes(), modules(service), decision(service).revision) == before


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "binding.name"),
        ({"name": "../x"}, "binding.name"),
        ({"tools": []}, "binding.tools"),
        ({"tools": ["srv"]}, "binding.tools.0"),
        ({"phases": []}, "binding.phases"),
        ({"phases": [9]}, "binding.phases"),
        ({"mode": 9}, "binding.mode"),
        ({"on_error": 9}, "binding.on_error"),
        ({"memory_mib": 65}, "binding.memory_mib"),
        ({"fuel": 0}, "binding.fuel"),
        ({"timeout": Duration(nanos=1)}, "binding.timeout"),
        ({"timeout": Duration(seconds=-1)}, "binding.timeout_ms"),
        ({"timeout": Duration(seconds=3600)}, "binding.timeout_ms"),
        ({"config_json": b"[]"}, "binding.config_json"),
        ({"config_json": b'{"a":null}'}, "binding.config_json"),
        ({"config_json": b'{"a":0.1000000000000000000001}'}, "binding.config_json"),
        ({"annotations": {"risk": "Number"}}, "binding.annotations.risk"),
        ({"grants": ["files"]}, "binding.grants.0"),
        ({"prewarm": 65}, "binding.prewarm"),
        ({"sha256": "0" * 64}, "binding.sha256"),
    ],
    ids=str,
)
def test_a_malformed_binding_names_its_field(service: Service, change: dict[str, Any], field: str) -> None:
    """What is wrong with a binding is INVALID_ARGUMENT with the field."""
    error = refusal(service, DENIES, **change)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_info(error).metadata["field"] == field


def test_parts_have_an_order(service: Service) -> None:
    """A push begins with the binding, goes on with chunks, and has at least one byte."""
    first, *rest = parts(DENIES)
    for wrong in ([], [first], rest, [first, first, *rest], [admin_service_pb2.PutInterceptorRequest(), *rest]):
        error = failure(
            lambda messages, **_: service.admin.PutInterceptor(iter(messages), timeout=TIMEOUT_SECONDS), wrong
        )
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_push_has_a_size(service: Service) -> None:
    """A module beyond every limit is cut short, and refused as such."""
    chunk = admin_service_pb2.PutInterceptorRequest(chunk=b"x" * 1_000_000)

    def messages() -> Iterator[admin_service_pb2.PutInterceptorRequest]:
        yield admin_service_pb2.PutInterceptorRequest(binding=bound())
        for _ in range(30):
            yield chunk

    error = failure(service.admin.PutInterceptor, messages())
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_push_to_a_broken_bundle_changes_nothing(service: Service) -> None:
    """Where the bundle on disk does not load, a push is an answer with its problems."""
    (service.bundle / "policies/a.cedar").write_text("nonsense;")
    answer = push(service, DENIES)
    assert not answer.changed
    assert [problem.path for problem in answer.problems] == ["policies/a.cedar"]
    assert modules(service) == []
    assert decision(service).decision == ALLOW


def test_a_linked_manifest_is_not_replaced(service: Service) -> None:
    """A `bundle.toml` that is a link, as in a mounted ConfigMap, is changed where it comes from and not here."""
    (service.bundle / "bundle.toml").rename(service.bundle / "policies/real.toml")
    (service.bundle / "bundle.toml").symlink_to("policies/real.toml")
    error = refusal(service, DENIES)
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert decision(service).decision == ALLOW


def test_an_archive_can_be_pushed_to(tmp_path: Path) -> None:
    """A bundle that is an archive is written anew, whole, in one step."""
    archive = tmp_path / "bundle.tar.gz"
    with archive.open("wb") as file:
        write_archive(memory_source({**FILES, "tests/t.json": "{}"}), file)
    with serving(tmp_path, {}, bundle={"source": str(archive)}) as service:
        answer = push(service, DENIES)
        assert decision(service).decision == DENY
        source = read_archive(archive, SourceLimits())
        assert source.revision == answer.revision
        assert "tests/t.json" in source.files
        assert remove(service).revision == memory_source(FILES).revision


# --- under load ------------------------------------------------------------------------------------------------------


class Load:
    """Threads that ask without a pause, each over a connection of its own."""

    def __init__(self, address: str, threads: int) -> None:
        self._address = address
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        self.answers: list[tuple[str, str]] = []
        self.errors: list[Exception] = []

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(TIMEOUT_SECONDS)

    def has_more_than(self, count: int) -> bool:
        """Whether there are more answers than that, or none will come."""
        return len(self.answers) > count or bool(self.errors)

    def _run(self) -> None:
        with connect(self._address) as channel:
            client = Client(channel)
            while not self._stop.is_set():
                try:
                    answer = decision(client)
                except grpc.RpcError as error:
                    self.errors.append(error)
                    return
                self.answers.append((answer.revision, answer.denial.message))


def test_modules_are_swapped_under_load(service: Service) -> None:
    """While modules are pushed and removed no call fails, and every answer is that of the revision it names."""
    rng = random.Random(7)
    said = {decision(service).revision: ""}
    with Load(service.address, 4) as load:
        for number in range(25):
            if rng.random() < 0.3 and len(listed(service).interceptors):
                said[remove(service).revision] = ""
            else:
                said[push(service, answering(deny(f"version {number}"))).revision] = f"version {number}"
            wait_until(partial(load.has_more_than, len(load.answers)), "somebody is answered")
    assert load.errors == []
    assert len({revision for revision, _ in load.answers}) > 10
    for revision, message in load.answers:
        assert said[revision] == message
