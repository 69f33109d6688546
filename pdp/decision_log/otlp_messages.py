"""The messages of OTLP that a log needs (opentelemetry-proto 1.x, `collector/logs/v1`).

They are described here, under a name of this program and in a pool of their own, because packages that ship them with
their real name exist in versions that exclude one another. On the wire only the numbers of the fields count.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_STRING, _FIXED64, _INT32, _INT64 = _Field.TYPE_STRING, _Field.TYPE_FIXED64, _Field.TYPE_INT32, _Field.TYPE_INT64
_PACKAGE = "pdp.otlp"

#: Each message with its fields: name, number, type (or the message it is), whether it is repeated.
_MESSAGES: dict[str, tuple[tuple[str, int, int | str, bool], ...]] = {
    "AnyValue": (("string_value", 1, _STRING, False),),
    "KeyValue": (("key", 1, _STRING, False), ("value", 2, "AnyValue", False)),
    "Resource": (("attributes", 1, "KeyValue", True),),
    "Scope": (("name", 1, _STRING, False), ("version", 2, _STRING, False)),
    "LogRecord": (
        ("time_unix_nano", 1, _FIXED64, False),
        ("severity_number", 2, _INT32, False),
        ("severity_text", 3, _STRING, False),
        ("body", 5, "AnyValue", False),
        ("attributes", 6, "KeyValue", True),
        ("observed_time_unix_nano", 11, _FIXED64, False),
    ),
    "ScopeLogs": (("scope", 1, "Scope", False), ("log_records", 2, "LogRecord", True)),
    "ResourceLogs": (("resource", 1, "Resource", False), ("scope_logs", 2, "ScopeLogs", True)),
    "ExportRequest": (("resource_logs", 1, "ResourceLogs", True),),
    "PartialSuccess": (("rejected_log_records", 1, _INT64, False), ("error_message", 2, _STRING, False)),
    "ExportResponse": (("partial_success", 1, "PartialSuccess", False),),
}


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="pdp/otlp.proto", package=_PACKAGE, syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, repeated in fields:
            label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            added = message.field.add(name=field, number=number, label=label)
            if isinstance(kind, str):
                added.type = _Field.TYPE_MESSAGE
                added.type_name = f".{_PACKAGE}.{kind}"
            else:
                added.type = _Field.Type.ValueType(kind)
    # `AnyValue` is a choice: a text that is empty is written too.
    any_value = file.message_type[0]
    any_value.oneof_decl.add(name="value")
    any_value.field[0].oneof_index = 0
    return file


def _classes() -> dict[str, Any]:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_file())
    found = {name: pool.FindMessageTypeByName(f"{_PACKAGE}.{name}") for name in _MESSAGES}
    return {name: message_factory.GetMessageClass(descriptor) for name, descriptor in found.items()}


_CLASSES = _classes()
AnyValue, KeyValue, LogRecord = _CLASSES["AnyValue"], _CLASSES["KeyValue"], _CLASSES["LogRecord"]
ExportRequest, ExportResponse = _CLASSES["ExportRequest"], _CLASSES["ExportResponse"]
