"""AuthZEN's HTTPS binding: which request asks what, who may ask, and how each mistake is answered.

The boundary of this protocol: whatever goes wrong becomes a response here, and nowhere else.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import structlog

from pdp import errors
from pdp.cedar.json_text import canonical_text
from pdp.cedar.strict_json import JsonError, JsonLimits, parse_object
from pdp.identity.callers import Callers
from pdp.servicers.gateways.authzen import AuthZen, Document, HttpCall, UnsupportedSearchError
from pdp.servicers.gateways.authzen_answers import error_form
from pdp.servicers.gateways.authzen_connection import Admitted, Head, Response
from pdp.servicers.gateways.authzen_mapping import MappingOptions
from pdp.telemetry.observer import Observer, Told

_log = structlog.get_logger("pdp.authzen")

#: What metrics and traces call this protocol, and its endpoints by what follows in their paths.
_NAME: Final = "AuthZEN"
_BASE: Final = "/access/v1/"
_FIRST_ERROR: Final = 400

WELL_KNOWN: Final = "/.well-known/authzen-configuration"

#: How deep documents may nest: what a tool's arguments or a context may, and what AuthZEN puts around them.
_MAX_DEPTH: Final = 64
#: Members and items of a document with one question, and for each question of a list.
_MAX_NODES: Final = 10_000
_NODES_EACH: Final = 50
_MAX_ID_LENGTH: Final = 256
_METADATA_SECONDS: Final = 3_600

#: Why a request is not read, for programs.
_UNREADABLE: Final = {408: "TOO_SLOW", 413: "OVER_LIMIT", 431: "OVER_LIMIT"}

Method = Callable[[Document, HttpCall], Document]

_Answer = TypeVar("_Answer")


class _HttpError(Exception):
    """A request that HTTP itself has an answer for."""

    def __init__(self, status: int, reason: str, message: str, field: str = "", **headers: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.field = field
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


#: What errors amount to: status and reason. Their texts are for callers.
_STATUSES: Final[tuple[tuple[type[errors.PdpError], int, str], ...]] = (
    (errors.InvalidRequestError, 400, "INVALID_FIELD"),
    (errors.UnauthenticatedError, 401, "UNAUTHENTICATED"),
    (errors.PermissionDeniedError, 403, "PERMISSION_DENIED"),
    (errors.OverLimitError, 413, "OVER_LIMIT"),
    (errors.RateLimitedError, 429, "RATE_LIMITED"),
    (UnsupportedSearchError, 501, "UNSUPPORTED_SEARCH"),
    (errors.UnavailableError, 503, "UNAVAILABLE"),
    (errors.DeadlineExceededError, 504, "DEADLINE_EXCEEDED"),
)


class AuthZenHttp:
    """The endpoints. `public_url` is where callers reach them, without a slash at the end."""

    def __init__(
        self,
        authzen: AuthZen,
        callers: Callers,
        options: MappingOptions,
        limits: JsonLimits,
        public_url: str,
        observer: Observer | None = None,
    ) -> None:
        self._observer = observer or Observer()
        self._callers = callers
        self._options = options
        self._limits = limits
        self._methods: dict[str, Method] = {
            "/access/v1/evaluation": authzen.evaluation,
            "/access/v1/evaluations": authzen.evaluations,
            "/access/v1/search/resource": authzen.search_resource,
            "/access/v1/search/action": authzen.search_action,
        }
        self._metadata = metadata(public_url)
        #: Where the metadata is: AuthZEN puts the path of the service's URL behind the well-known one.
        self._well_known = (WELL_KNOWN, WELL_KNOWN + urlsplit(public_url).path)

    def admit(self, head: Head) -> Response | Admitted:
        """The answer to a request whose body need not be read, or what answers once it is there."""
        answer = self._guarded(head, lambda request_id: self._admit(head, request_id))
        return self._counted(_NAME, answer) if isinstance(answer, Response) else answer

    def refuse(self, status: int, message: str, head: Head | None) -> Response:
        """The answer to what is no request, or is too large or too slow."""

        def answer(_: str) -> Response:
            raise _HttpError(status, _UNREADABLE.get(status, "INVALID_REQUEST"), message)

        return self._counted(_NAME, self._guarded(head, answer))

    def _admit(self, head: Head, request_id: str) -> Response | Admitted:
        # 1. What is asked.
        path, _, _ = head.target.partition("?")
        if path in self._well_known:
            _require_method(head, "GET")
            headers = {"Cache-Control": f"max-age={_METADATA_SECONDS}"}
            return _response(200, self._metadata, request_id, headers)
        method = self._methods.get(path)
        if method is None:
            raise _HttpError(404, "NOT_FOUND", "there is no such endpoint")
        _require_method(head, "POST")
        # 2. Who asks; nothing of the body is read before that is known.
        caller = self._callers.identify(_authorization(head), head.certificate_names)
        caller.require("decide")
        # 3. In which form.
        _require_json(_one(head, "content-type"))
        call = HttpCall(caller, request_id, head.deadline)
        name = f"{_NAME}.{path.removeprefix(_BASE)}"
        return lambda body: self._observed(name, head, lambda _: self._answer(method, body, call), request_id)

    def _observed(self, name: str, head: Head, answer: Callable[[str], Response], request_id: str) -> Response:
        traceparents = head.values("traceparent")
        told = Told(traceparents[0] if len(traceparents) == 1 else "", request_id)
        response = self._observer.answered(name, told, lambda: self._guarded(head, answer))
        return self._counted(name, response)

    def _counted(self, name: str, response: Response) -> Response:
        if response.status >= _FIRST_ERROR:
            self._observer.metrics.rpc_errors.add(name, str(response.status))
        return response

    def _answer(self, method: Method, body: bytes, call: HttpCall) -> Response:
        return _response(200, method(self._parse(body), call), call.request_id)

    def _parse(self, body: bytes) -> Document:
        try:
            return parse_object(body, self._limits)
        except JsonError as error:
            raise _HttpError(400, "INVALID_JSON", str(error)) from None

    def _guarded(self, head: Head | None, answer: Callable[[str], _Answer]) -> _Answer | Response:
        request_id = ""
        try:
            request_id = _request_id(head) if head is not None else ""
            return answer(request_id)
        except _HttpError as error:
            form = error_form(error.status, error.reason, str(error), error.field, self._options)
            return _response(error.status, {"error": form}, request_id, error.headers)
        except errors.PdpError as error:
            return self._refusal(error, request_id)
        except Exception as error:  # noqa: BLE001 - the boundary
            return self._internal(error, request_id)

    def _refusal(self, error: errors.PdpError, request_id: str) -> Response:
        known = next(((status, reason) for kind, status, reason in _STATUSES if isinstance(error, kind)), None)
        if known is None:
            return self._internal(error, request_id)
        status, usual = known
        reason, field = getattr(error, "reason", usual), getattr(error, "field", "")
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
        if isinstance(error, errors.RateLimitedError):
            headers["Retry-After"] = str(math.ceil(error.retry_seconds))
        form = error_form(status, reason, str(error), field, self._options)
        return _response(status, {"error": form}, request_id, headers)

    def _internal(self, error: Exception, request_id: str) -> Response:
        # The cause stays here: an exception's text can hold anything a caller sent, or more.
        error_id = secrets.token_hex(8)
        _log.error("internal error", error_id=error_id, exc_info=error)
        form = error_form(500, "INTERNAL", f"internal error {error_id}", "", self._options)
        return _response(500, {"error": form}, request_id)


def json_limits(max_bytes: int, max_evaluations: int) -> JsonLimits:
    """How much JSON one request may hold."""
    return JsonLimits(max_bytes, _MAX_DEPTH, max(_MAX_NODES, _NODES_EACH * max_evaluations))


def metadata(public_url: str) -> dict[str, Any]:
    """What `/.well-known/authzen-configuration` says; subjects cannot be searched for, so that endpoint is left out."""
    return {
        "policy_decision_point": public_url,
        "access_evaluation_endpoint": f"{public_url}/access/v1/evaluation",
        "access_evaluations_endpoint": f"{public_url}/access/v1/evaluations",
        "search_resource_endpoint": f"{public_url}/access/v1/search/resource",
        "search_action_endpoint": f"{public_url}/access/v1/search/action",
    }


def _response(status: int, document: Document, request_id: str, headers: Mapping[str, str] | None = None) -> Response:
    found = {"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    found.update(headers or {})
    if request_id:
        found["X-Request-ID"] = request_id
    return Response(status, tuple(found.items()), canonical_text(document).encode())


def _require_method(head: Head, method: str) -> None:
    if head.method != method:
        message = f"this endpoint takes {method} only"
        raise _HttpError(405, "METHOD_NOT_ALLOWED", message, Allow=method)


def _one(head: Head, name: str) -> str | None:
    """The value of a header, None where it is not there; given twice it is a mistake, or an attack."""
    values = head.values(name)
    if len(values) > 1:
        raise _HttpError(400, "INVALID_HEADER", f"the header `{name}` is given {len(values)} times")
    return values[0] if values else None


def _authorization(head: Head) -> str | None:
    """As `Callers.identify` takes it. Sent twice it is taken for a wrong one: nobody knows which one was meant."""
    values = head.values("authorization")
    return None if not values else values[0] if len(values) == 1 else ""


def _require_json(content_type: str | None) -> None:
    kind, _, parameters = (content_type or "").partition(";")
    known = parameters.strip().lower().replace('"', "") in ("", "charset=utf-8")
    if kind.strip().lower() != "application/json" or not known:
        raise _HttpError(400, "INVALID_CONTENT_TYPE", "the header `Content-Type` must be `application/json`")


def _request_id(head: Head) -> str:
    """The caller's name for the request, which is sent back; empty where there is none."""
    value = _one(head, "x-request-id") or ""
    if len(value) > _MAX_ID_LENGTH or not (value.isascii() and value.isprintable()):
        message = f"`X-Request-ID` must be at most {_MAX_ID_LENGTH} printable ASCII characters"
        raise _HttpError(400, "INVALID_HEADER", message, "X-Request-ID")
    return value
