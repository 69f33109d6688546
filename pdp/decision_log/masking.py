"""What of a tool call's arguments is never written down. Pure.

Masks are JSONPath (RFC 9535) as far as places need it: `$`, then `.name`, `['name']`, `[n]`, `[*]`, `.*`, `..name` and
`..['name']`. No filters, slices or negative indexes: what is masked must be plain to see in the configuration.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from json.encoder import encode_basestring_ascii as quoted
from typing import Any, NamedTuple

from pdp.cedar.strict_json import JsonError, parse_value
from pdp.errors import ConfigError

#: The text of arguments that may be written, or None if all of it has to stay away.
Masking = Callable[[bytes], str | None]

_MASKED = "[masked]"
_STEP = re.compile(
    r"(?P<deep>\.\.)?(?:"
    r"(?P<dot>(?(deep)|\.))(?P<name>[A-Za-z_\x80-\U0010ffff][\w]*)"
    r"|(?(deep)(?!)|\.)(?P<star>\*)"
    r"|\[(?:(?P<any>\*)|(?P<index>0|[1-9][0-9]{0,8})|'(?P<single>(?:[^'\\]|\\['\\])*)'|\"(?P<double>(?:[^\"\\]|\\[\"\\])*)\")\]"
    r")"
)


class _Step(NamedTuple):
    """One step down: to a member of this name, to the item of this index, or to all (None)."""

    deep: bool
    key: str | int | None


def masking(paths: Sequence[str]) -> Masking | None:
    """What masks these places; None if there are none. Raises ConfigError with every path that is not one."""
    problems = []
    found = []
    for path in paths:
        steps = _steps(path)
        if steps:
            found.append(steps)
        else:
            problems.append(
                f"`decision_log.mask`: `{path}` is not a path; write `$.name`, `$.items[*].name` or `$..name`"
            )
    if problems:
        raise ConfigError(problems)
    return (lambda text: _masked(text, found)) if found else None


def _steps(path: str) -> list[_Step]:
    if not path.startswith("$"):
        return []
    steps, at = [], 1
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            return []
        steps.append(_Step(match["deep"] is not None, _key(match)))
        at = match.end()
    return steps


def _key(match: re.Match[str]) -> str | int | None:
    if match["index"] is not None:
        return int(match["index"])
    for group in ("single", "double"):
        if match[group] is not None:
            return re.sub(r"\\(.)", r"\1", match[group])
    return match["name"]


def _masked(data: bytes, paths: Iterable[Sequence[_Step]]) -> str | None:
    """The text with every value at one of these places replaced; None if it cannot be read without a doubt."""
    try:
        document = parse_value(data)
    except JsonError:
        return None
    hits = 0
    for steps in paths:
        containers = [document]
        for step in steps[:-1]:
            containers = [container[key] for container, key in _places(containers, step)]
        for container, key in list(_places(containers, steps[-1])):
            container[key] = _MASKED
            hits += 1
    return _text(document) if hits else data.decode()


def _places(containers: Iterable[Any], step: _Step) -> Iterator[tuple[Any, Any]]:
    for container in _all_within(containers) if step.deep else containers:
        if isinstance(container, dict):
            keys: Iterable[Any] = container if step.key is None else [step.key] if step.key in container else []
        elif isinstance(container, list):
            keys = range(len(container)) if step.key is None else _index(step.key, container)
        else:
            continue
        for key in list(keys):
            yield container, key


def _index(key: str | int, items: list[Any]) -> list[int]:
    return [key] if isinstance(key, int) and key < len(items) else []


def _all_within(containers: Iterable[Any]) -> list[Any]:
    """These and everything below them, each once."""
    found: dict[int, Any] = {}
    waiting = list(containers)
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict | list) and id(value) not in found:
            found[id(value)] = value
            waiting += value.values() if isinstance(value, dict) else value
    return list(found.values())


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{quoted(name)}:{_text(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    if isinstance(value, str):
        return quoted(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
