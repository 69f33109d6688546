"""Envoy's headers and metadata as facts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pdp.servicers.gateways.sources import object_of


def header_pairs(headers: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Names in lower case, and values, of `HeaderValue` messages; a value stands in one of two fields."""
    for header in headers:
        value = header.raw_value.decode("utf-8", "backslashreplace") if header.raw_value else header.value
        yield header.key.lower(), value


def metadata_of(metadata: Any) -> Mapping[str, Any]:
    """`Metadata.filter_metadata`: a JSON object for each namespace. Raises RefusedError where one is none."""
    return {namespace: object_of(struct) for namespace, struct in metadata.filter_metadata.items()}
