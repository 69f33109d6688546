"""One HTTP exchange without a proxy: what a server says unasked, and what comes in the wrong order."""

from __future__ import annotations

import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from pdp.gateway_config import EnvoyConfig
from pdp.identity.callers import ANYONE
from pdp.servicers.gateways.asker import Asker, Within
from pdp.servicers.gateways.exchange import Exchange
from pdp.servicers.gateways.refusals import RefusedError
from pdp.servicers.gateways.sources import Facts
from tests.gateways import raw
from tests.gateways.cores import AllowingCore
from tests.gateways.raw import message, result

POST = Facts([("content-type", "application/json"), ("x-agent", "coder")])
JSON = Facts([("content-type", "application/json")])
EVENTS = Facts([("content-type", "text/event-stream")])


def exchange(**settings: Any) -> Exchange:
    config = EnvoyConfig(ext_proc=True, server_from="fixed:srv", subject_from="header:x-agent", **settings)
    return Exchange(Asker(AllowingCore()), config, Within(ANYONE, 10))


def asked(body: bytes, **settings: Any) -> Exchange:
    """An exchange whose request has gone on."""
    found = exchange(**settings)
    found.request_head(POST, "POST", ended=False)
    assert found.request_body(body, whole=True) is None
    return found


def event(data: bytes) -> bytes:
    return b"data: %s\n\n" % data


def told(passed_on: bytes) -> list[Any]:
    """The messages in a stream of events."""
    return [json.loads(line[6:]) for line in passed_on.splitlines() if line.startswith(b"data: ")]


SAMPLING = message("sampling/createMessage")
NOTE = b'{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}'


def listening(**settings: Any) -> Exchange:
    """An exchange that only listens."""
    found = exchange(listen_streams=True, **settings)
    found.request_head(Facts(), "GET", ended=True)
    found.response_head(200, EVENTS, ended=False)
    return found


def test_a_listener_hears_what_passes() -> None:
    """On a stream for listening, notifications and pings pass, and questions to the agent do not."""
    heard = listening().response_part(event(NOTE) + event(message("ping")) + event(SAMPLING), ended=False)
    assert told(heard) == [json.loads(NOTE), json.loads(message("ping"))]


def test_a_listener_hears_no_results() -> None:
    """An answer on a stream for listening belongs to a call that is not known there, so nothing of it passes."""
    [heard] = told(listening().response_part(event(result("secret", 7)), ended=False))
    assert (heard["id"], "secret" in str(heard), "error" in heard) == (7, False, True)


def test_configured_methods_pass_both_ways() -> None:
    """What a server may ask passes if it is configured, and then so do the agent's answers."""
    settings = {"pass_methods": ("sampling/createMessage",)}
    assert told(listening(**settings).response_part(event(SAMPLING), ended=False)) == [json.loads(SAMPLING)]
    asked(result(), **settings)
    with pytest.raises(RefusedError):
        asked(result())


def test_the_answer_to_a_ping_passes() -> None:
    """An agent may answer that it is there."""
    asked(b'{"jsonrpc":"2.0","id":1,"result":{}}')


def test_events_wait_for_nothing() -> None:
    """Each event passes as soon as it is there, however long the stream goes on."""
    found = asked(raw.call())
    found.response_head(200, EVENTS, ended=False)
    assert told(found.response_part(event(NOTE)[:9], ended=False)) == []
    assert told(found.response_part(event(NOTE)[9:], ended=False)) == [json.loads(NOTE)]
    assert told(found.response_part(event(result()), ended=False)) == [json.loads(result())]
    assert found.response_part(event(result("again")), ended=True).count(b"again") == 0


def test_notifications_get_no_content() -> None:
    """Nobody waits for an answer to a notification, so nothing that comes as one passes."""
    found = asked(NOTE)
    found.response_head(202, JSON, ended=False)
    assert found.response_part(result("secret"), ended=True) == b""


def test_wrong_orders_are_refused() -> None:
    """A body before its head, a second body, or a response before its request is refused."""
    with pytest.raises(RefusedError):
        exchange().request_body(raw.call(), whole=True)
    with pytest.raises(RefusedError):
        asked(raw.call()).request_body(raw.call(), whole=True)
    with pytest.raises(RefusedError):
        asked(raw.call()).response_part(result(), ended=True)
    unread = exchange()
    unread.request_head(POST, "POST", ended=False)
    with pytest.raises(RefusedError):
        unread.response_head(200, JSON, ended=False)


def test_a_body_that_is_a_part_is_refused() -> None:
    """A body that does not end, or is not as long as it was said to be, is not read."""
    found = exchange()
    found.request_head(POST, "POST", ended=False)
    with pytest.raises(RefusedError, match="as a whole"):
        found.request_body(raw.call(), whole=False)
    longer = exchange()
    longer.request_head(Facts([*POST.headers, ("content-length", "999")]), "POST", ended=False)
    with pytest.raises(RefusedError, match="as a whole"):
        longer.request_body(raw.call(), whole=True)


@pytest.mark.parametrize("method", ["notifications/x", "notifications/tools/call"])
def test_notifications_want_no_answer(method: str) -> None:
    """A request that calls itself a notification is none, and is refused like any other that nobody knows."""
    found = exchange()
    found.request_head(POST, "POST", ended=False)
    with pytest.raises(RefusedError, match="not allowed"):
        found.request_body(message(method), whole=True)


def test_what_is_no_message_is_told_of_once(logs: list[MutableMapping[str, Any]]) -> None:
    """A server cannot fill the service's log with events that are no messages, or ask what nobody may be asked."""
    found = asked(raw.call())
    found.response_head(200, EVENTS, ended=False)
    found.response_part((event(b"{") + event(SAMPLING)) * 100, ended=False)
    assert len(logs) <= 2


def test_an_open_exchange_keeps_little() -> None:
    """What an agent sent is not kept for as long as its answer takes."""
    found = asked(message("tools/call", {"name": "read", "_meta": {"x": [[]] * 10_000}}))
    assert found.asked is not None
    assert (found.asked.text, found.asked.value, found.asked.id, found.asked.method) == ("", {}, 1, "tools/call")
