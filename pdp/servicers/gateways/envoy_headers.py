"""Envoy's headers and metadata as facts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict


def header_pairs(headers: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Names in lower case, and values, of `HeaderValue` messages; a value stands in one of two fields."""
    for header in headers:
        value = header.raw_value.decode("utf-8", "backslashreplace") if header.raw_value else header.value
        yield header.key.lower(), value


def metadata_of(metadata: Any) -> Mapping[str, Any]:
    """`Metadata.filter_metadata`: a JSON object for each namespace."""
    return {namespace: MessageToDict(struct) for namespace, struct in metadata.filter_metadata.items()}
