"""The examples of the guide say what happens."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import cedarpy
import pytest

from pdp.config import load_config
from pdp.identity.config import IssuerConfig
from pdp.identity.registered_claims import require_audience
from pdp.identity.subject_mapping import SubjectMapping

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "guides" / "identity.md"

_BLOCK = re.compile(r"^```(?P<kind>[a-z]+ [a-z]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def _blocks(kind: str) -> list[str]:
    return [block["text"] for block in _BLOCK.finditer(GUIDE.read_text("utf-8")) if block["kind"] == kind]


def _issuer(text: str) -> IssuerConfig:
    [issuer] = load_config(None, {}, tomllib.loads(text)).identity.issuer
    return issuer


def test_the_guide_has_examples() -> None:
    """The blocks are found: a change of their format does not quietly leave the guide unchecked."""
    assert len(_blocks("toml config")) == len(_blocks("json claims")) == len(_blocks("json entities")) >= 4
    assert len(_blocks("cedar policy")) == len(_blocks("json entity")) == 1


@pytest.mark.parametrize("number", range(4))
def test_claims_are_the_entities_of_the_guide(number: int) -> None:
    """Each configuration of the guide makes the entities beside it of the claims beside it."""
    issuer = _issuer(_blocks("toml config")[number])
    claims = json.loads(_blocks("json claims")[number])
    assert claims["iss"] == issuer.issuer
    require_audience(claims, frozenset(issuer.audiences))
    principal, user = SubjectMapping(issuer).read(claims)
    entities = [principal.form] if user is None else [principal.form, user.form]
    assert entities == json.loads(_blocks("json entities")[number])


def test_policies_and_entities_of_the_guide_are_cedar() -> None:
    """The guide's policies and entities are read by Cedar."""
    [policies] = _blocks("cedar policy")
    assert len(cedarpy.PolicySet.from_str(policies)) == 2
    [entities] = _blocks("json entity")
    assert "staff" in str(cedarpy.Entities.from_json_str(entities))
