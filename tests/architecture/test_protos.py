"""What the public API promises beyond what buf checks."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor, ServiceDescriptor

from pdp._gen.pdp.v1 import admin_service_pb2, decision_pb2, decision_service_pb2, interceptor_pb2

FILES: list[FileDescriptor] = [
    module.DESCRIPTOR for module in (admin_service_pb2, decision_pb2, decision_service_pb2, interceptor_pb2)
]

# The names that users of the API rely on; numbers are held by the recorded baseline.
PROMISED = {
    "EntityUid": "type id",
    "Subject": "entity token on_behalf_of",
    "ToolCall": "server tool arguments_json session_id",
    "ActionOnResource": "action resource",
    "AuthorizeRequest": "subject action_on_resource tool_call context_json entities_json request_id",
    "AuthorizeResponse": "decision denial determining_policies policy_errors shadow decision_id revision",
    "AuthorizeBatchRequest": "requests",
    "AuthorizeBatchResponse": "results",
    "InterceptRequest": "phase subject tool_call result_json result_is_error context_json request_id decision_id",
    "InterceptResponse": "decision denial mutated arguments_json result_json interceptors decision_id revision",
    "DecideRequest": "subject tool_call context_json entities_json request_id definition_json",
    "DecideResponse": "decision denial determining_policies policy_errors shadow decision_id revision"
    " mutated arguments_json interceptors",
    "FilterToolsRequest": "subject server tools context_json",
    "FilterToolsResponse": "allowed hidden revision",
    "Denial": "code message",
    "DeterminingPolicy": "policy_id effect annotations",
    "ShadowReport": "would_be_decision flipping_policies matched_policies interceptors would_be_denial",
    "InterceptorOutcome": "name verdict reason error_class duration mode annotations_json",
}

DENIAL_CODES = [
    "UNSPECIFIED",
    "FORBIDDEN",
    "NO_MATCHING_POLICY",
    "POLICY_ERROR",
    "INVALID_ARGUMENTS",
    "UNKNOWN_TOOL",
    "TOOL_CHANGED",
    "INVALID_TOKEN",
    "INTERCEPTOR_DENIED",
    "INTERCEPTOR_FAILED",
]


def messages() -> dict[str, Descriptor]:
    return {name: message for file in FILES for name, message in file.message_types_by_name.items()}


def enums() -> dict[str, EnumDescriptor]:
    return {name: enum for file in FILES for name, enum in file.enum_types_by_name.items()}


def fields() -> Iterator[FieldDescriptor]:
    for message in messages().values():
        yield from message.fields


def rpcs(service: ServiceDescriptor) -> dict[str, tuple[bool, bool]]:
    """The RPCs of a service and whether request and response are streams."""
    return {method.name: (method.client_streaming, method.server_streaming) for method in service.methods}


def test_decision_service_has_its_rpcs() -> None:
    """The five questions are unary RPCs."""
    service = decision_service_pb2.DESCRIPTOR.services_by_name["DecisionService"]
    unary = (False, False)
    names = ["Authorize", "AuthorizeBatch", "Intercept", "Decide", "FilterTools"]
    assert rpcs(service) == dict.fromkeys(names, unary)


def test_admin_service_has_its_rpcs() -> None:
    """Modules are streamed in and revisions are streamed out; the rest is unary."""
    service = admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"]
    unary = (False, False)
    names = ["GetStatus", "Reload", "ListInterceptors", "PutInterceptor", "DeleteInterceptor", "WatchRevisions"]
    expected = dict.fromkeys(names, unary) | {"PutInterceptor": (True, False), "WatchRevisions": (False, True)}
    assert rpcs(service) == expected


@pytest.mark.parametrize("name", PROMISED)
def test_message_has_the_promised_fields(name: str) -> None:
    """A message has the fields that users rely on, under these names and no other."""
    assert {field.name for field in messages()[name].fields} == set(PROMISED[name].split())


def test_denial_codes_are_complete() -> None:
    """Every reason for a denial has a code."""
    assert [value.name.removeprefix("DENIAL_CODE_") for value in enums()["DenialCode"].values] == DENIAL_CODES


def test_decision_values() -> None:
    """Allow is never the zero value, so that an empty message denies."""
    values = {value.name: value.number for value in enums()["Decision"].values}
    assert values == {"DECISION_UNSPECIFIED": 0, "DECISION_ALLOW": 1, "DECISION_DENY": 2}


def test_zero_values_say_nothing() -> None:
    """The zero value of every enum is its `*_UNSPECIFIED`."""
    for name, enum in enums().items():
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", name).upper()
        assert enum.values_by_number[0].name == f"{prefix}_UNSPECIFIED"


def test_json_travels_as_bytes() -> None:
    """A field is called `*_json` if and only if it holds bytes; only the chunks of a module are other bytes."""
    for field in fields():
        is_json = field.name.endswith("_json")
        is_bytes = field.type == FieldDescriptor.TYPE_BYTES and field.name != "chunk"
        assert is_json == is_bytes, field.full_name


def test_fields_cost_one_byte_of_tag() -> None:
    """Every field number is between 1 and 15."""
    assert [field.full_name for field in fields() if not 1 <= field.number <= 15] == []


def test_protos_import_only_well_known_types() -> None:
    """The protos compile with protoc alone."""
    for file in FILES:
        for dependency in file.dependencies:
            assert dependency.name.startswith(("google/protobuf/", "pdp/v1/"))


def test_descriptors_keep_their_public_paths() -> None:
    """Reflection shows `pdp/v1/…`, wherever the Python code of the stubs lives."""
    assert {file.name for file in FILES} == {
        f"pdp/v1/{name}.proto" for name in ("admin_service", "decision", "decision_service", "interceptor")
    }
