"""Documents that are named on the command line, and messages as documents."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from pdp.bundle.source import unreadable
from pdp.cli.failure import CommandError

#: Larger than every module that a sandbox takes, so that the sandbox can say how large it was.
_MAX_MODULE_BYTES = 64 * 1024 * 1024


def read_documents(arguments: Namespace, names: Sequence[str]) -> dict[str, bytes]:
    """The documents that the options called `names` give, empty for those that are not there. Not looked into."""
    given = {name: getattr(arguments, name) for name in names}
    if sum(value == "-" for value in given.values()) > 1:
        raise CommandError("standard input can be read only once: give `-` to one option")
    return {name: read_document(value) for name, value in given.items()}


def read_document(given: str | None) -> bytes:
    """The bytes of a document as given: the text itself, `@file`, or `-` for standard input. Not looked into."""
    if given is None:
        return b""
    if given == "-":
        return sys.stdin.buffer.read()
    return read_file(given[1:]) if given.startswith("@") else given.encode()


def read_file(name: str) -> bytes:
    """The bytes of a file. Raises CommandError."""
    try:
        return Path(name).read_bytes()
    except (OSError, ValueError) as error:
        raise CommandError(f"`{name}` {unreadable(name, error).message}") from error


def read_module(name: str) -> bytes:
    """The bytes of a module. Raises CommandError."""
    try:
        with Path(name).open("rb") as file:
            content = file.read(_MAX_MODULE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise CommandError(f"`{name}` {unreadable(name, error).message}") from error
    if len(content) > _MAX_MODULE_BYTES:
        raise CommandError(f"`{name}` has more than {_MAX_MODULE_BYTES >> 20} MiB, so it is no module for this service")
    return content


def message_document(message: Message) -> dict[str, Any]:
    """A message as JSON values under the names of the protos; lists are there even if they are empty.

    It is proto JSON, but for fields that hold JSON as bytes (`…_json`): they are text here, and not base64.
    """
    document: dict[str, Any] = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    _show_bytes(message, document)
    return document


def _show_bytes(message: Message, document: dict[str, Any]) -> None:
    for field, value in message.ListFields():
        if field.type == FieldDescriptor.TYPE_BYTES:
            document[field.name] = value.decode("utf-8", "backslashreplace")
            continue
        forms = document.get(field.name)
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        pairs = zip(value, forms, strict=True) if isinstance(forms, list) else [(value, forms)]
        for inner, form in pairs:
            if isinstance(form, dict):  # a time or a duration is text
                _show_bytes(inner, form)
