"""`[envoy]` and `[agentgateway]`: what is switched on has to say who asks for what."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from pdp.config import load_config
from pdp.errors import ConfigError
from pdp.gateway_config import AgentgatewayConfig, EnvoyConfig
from pdp.servicers.gateways.services import gateway_services
from tests.gateways.cores import FailingCore

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nobody": ({"agentgateway": {"enabled": True}}, "either `subject_from` or `token_from`"),
    "a subject and a token": (
        {"agentgateway": {"enabled": True, "subject_from": "header:a", "token_from": "header:b"}},
        "either `subject_from` or `token_from`",
    ),
    "no server": ({"envoy": {"ext_proc": True, "subject_from": "header:a"}}, "`envoy.server_from` is missing"),
    "nobody for Envoy": ({"envoy": {"ext_authz": True, "server_from": "fixed:a"}}, "either `subject_from`"),
    "no type": (
        {"agentgateway": {"enabled": True, "subject_from": "header:a", "subject_type": ""}},
        "`agentgateway.subject_type` is empty",
    ),
    "a type of actions": ({"envoy": {"subject_type": "Action"}}, "not a Cedar entity type"),
    "a place that is none": ({"envoy": {"subject_from": "cookie:a"}}, "`envoy.subject_from`"),
    "a subject that is always the same": ({"envoy": {"subject_from": "fixed:a"}}, "`envoy.subject_from`"),
    "a route of agentgateway": ({"agentgateway": {"subject_from": "route:a"}}, "`agentgateway.subject_from`"),
    "a header that is none": ({"envoy": {"session_from": "header:a b"}}, "`envoy.session_from`"),
    "metadata without a key": ({"envoy": {"session_from": "metadata:"}}, "`envoy.session_from`"),
    "a method that is none": ({"envoy": {"pass_methods": ["a b"]}}, "`envoy.pass_methods`"),
    "all methods": ({"envoy": {"pass_methods": ["*"]}}, "`envoy.pass_methods`"),
}


@pytest.mark.parametrize(("sections", "problem"), WRONG.values(), ids=WRONG)
def test_mistakes_are_reported(sections: dict[str, Any], problem: str) -> None:
    """A gateway that could not be told who asks for what is not switched on; the message says what is missing."""
    with pytest.raises(ConfigError, match=problem):
        load_config(None, {}, sections)


def test_everything_is_off_unless_configured() -> None:
    """Without a word about gateways there is no further service."""
    config = load_config(None, {}, {})
    assert list(gateway_services(FailingCore(None), config.envoy, config.agentgateway)) == []


def test_agentgateway_needs_nothing_else() -> None:
    """agentgateway's service is there when it is switched on, whatever else is installed."""
    config = AgentgatewayConfig(enabled=True, subject_from="metadata:sub")
    [service] = gateway_services(FailingCore(None), EnvoyConfig(), config)
    assert service.descriptor.full_name == "agentgateway.dev.ext_mcp.ExtMcp"


def test_envoy_without_its_messages_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Envoy's messages are not installed, the mistake says how to install them."""
    monkeypatch.setitem(sys.modules, "envoy", None)
    for name in [name for name in sys.modules if name.startswith(("envoy.", "pdp.servicers.gateways.envoy"))]:
        monkeypatch.delitem(sys.modules, name)
    config = EnvoyConfig(ext_proc=True, server_from="fixed:a", subject_from="header:a")
    with pytest.raises(ConfigError, match="pip install 'pdp\\[envoy\\]'"):
        list(gateway_services(FailingCore(None), config, AgentgatewayConfig()))
