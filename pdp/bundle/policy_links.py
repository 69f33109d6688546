"""`policies/**/*.links.json`: template links, in the Cedar CLI's format.

An array of `{"template_id": "…", "link_id": "…", "args": {"?principal": "User::\\"alice\\""}}`; a slot's value may
also be written `{"type": "User", "id": "alice"}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pdp.cedar.index import Rule
from pdp.cedar.json_places import locate_all
from pdp.cedar.model import EntityUid, is_entity_type, parse_uid
from pdp.cedar.policies import Policy
from pdp.cedar.strict_json import JsonError, JsonLimits, locate, parse_value
from pdp.cedar.syntax import tokens
from pdp.errors import Problem

_KEYS = {"template_id", "link_id", "args"}
_LIMITS = JsonLimits(max_bytes=512 * 1024 * 1024, max_nodes=50_000_000)


@dataclass(frozen=True, slots=True)
class Link:
    """One link: the template's id, the linked policy's id, the slots' values; `number` is its place in the file."""

    template_id: str
    link_id: str
    slots: Mapping[str, EntityUid]
    number: int


@dataclass(frozen=True, slots=True)
class ParsedLinks:
    """The links of one file, and what is wrong with it."""

    links: tuple[Link, ...] = ()
    problems: tuple[Problem, ...] = ()


def parse_links(path: str, content: bytes) -> ParsedLinks:
    """Read one links file."""
    text = content.decode("utf-8", "replace")
    try:
        document = parse_value(content, _LIMITS)
    except JsonError as error:
        return ParsedLinks(problems=(Problem(path, *locate(text, error.path), error.message),))
    if not isinstance(document, list):
        return ParsedLinks(problems=(Problem(path, 1, 1, "a links file is a JSON array of links"),))
    links: list[Link] = []
    offences: dict[int, str] = {}
    for number, item in enumerate(document):
        try:
            links.append(_link(item, number))
        except ValueError as error:
            offences[number] = str(error)
    return ParsedLinks(tuple(links), tuple(link_problems(path, text, offences)))


def link_problems(path: str, text: str, offences: Mapping[int, str]) -> list[Problem]:
    """The problems of a links file with content `text`, from messages by the link's place in it."""
    if not offences:
        return []
    places = locate_all(text, [f"/{number}" for number in offences])
    return [Problem(path, *places[f"/{number}"], message) for number, message in offences.items()]


def _link(item: Any, number: int) -> Link:
    if not isinstance(item, dict) or item.keys() != _KEYS:
        raise ValueError("a link has exactly the keys `template_id`, `link_id` and `args`")
    if not all(isinstance(item[key], str) and item[key] for key in ("template_id", "link_id")):
        raise ValueError("`template_id` and `link_id` are non-empty strings")
    if not isinstance(item["args"], dict):
        raise ValueError("`args` is an object of slots to entities")
    slots = {slot: _slot_value(value) for slot, value in item["args"].items()}
    return Link(item["template_id"], item["link_id"], slots, number)


def _slot_value(value: Any) -> EntityUid:
    if isinstance(value, str):
        return parse_uid(value)
    if isinstance(value, dict) and value.keys() == {"type", "id"} and all(isinstance(v, str) for v in value.values()):
        if not is_entity_type(value["type"]):
            raise ValueError(f"`{value['type']}` is not a Cedar entity type name")
        return EntityUid(value["type"], value["id"])
    raise ValueError('a slot\'s value is an entity, such as `User::"alice"`')


def link_rule(link: Link, templates: Mapping[str, Policy]) -> Rule:
    """The rule that a link makes of its template. ValueError says what does not fit."""
    template = templates.get(link.template_id)
    if template is None:
        raise ValueError(f"there is no template `{link.template_id}`")
    if link.slots.keys() != set(template.slots):
        wanted = ", ".join(f"`{slot}`" for slot in template.slots)
        raise ValueError(f"template `{link.template_id}` wants exactly {wanted}")
    return Rule(link.link_id, template, link.slots)


def linked_text(rule: Rule) -> str:
    """The text of a linked policy: its template's with the slots filled."""
    text = rule.policy.text
    parts: list[str] = []
    end = 0
    for offset, token in tokens(text):
        if token in rule.slots:
            parts += text[end:offset], str(rule.slots[token])
            end = offset + len(token)
    return "".join([*parts, text[end:]])
