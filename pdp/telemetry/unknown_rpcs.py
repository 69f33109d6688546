"""Counts calls of what is not served: nobody else hears of them."""

from __future__ import annotations

from typing import Final

import grpc

from pdp.telemetry.tallies import Counts

#: Names of what is not served are made up by those who call it, so there is one for all.
UNKNOWN: Final = "unknown"


class UnknownRpcs(grpc.GenericRpcHandler):
    """Answers nothing, so that grpc says UNIMPLEMENTED. To be the last handler of a server."""

    def __init__(self, rpc_errors: Counts) -> None:
        self._rpc_errors = rpc_errors

    def service(self, details: grpc.HandlerCallDetails) -> None:
        """Count a call that no other handler takes."""
        self._rpc_errors.add(UNKNOWN, "UNIMPLEMENTED")
