"""Random conditions as Cedar text, and random entities and contexts for them to look at.

Conditions are made by kind, so that most of them mean something, and each part is now and then of another kind than
its place asks for, missing, or wrong in another way. The values are those on which two evaluators may differ.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pdp.cedar.cedar_types import quoted
from pdp.cedar.model import EntityUid

Json = Any

USERS = [EntityUid("User", name) for name in ("u0", "u1", "u2", "u3", "", 'q"\\*\0', "gone")]
GROUPS = [EntityUid("Team::Group", f"g{number}") for number in range(5)] + [EntityUid("Team::Group", "gone")]
ACTIONS = [EntityUid("Action", name) for name in ("read", "write", "readers", "any", "gone")]
_UIDS = [*USERS, *USERS, *GROUPS, EntityUid("Action", "read"), EntityUid("Group", "g0"), EntityUid("user", "u0")]

STRINGS = [
    *(
        "",
        "a",
        "b",
        "ab",
        "aab",
        "abab",
        "ba",
        "aba",
        "abba",
        "a*b",
        "*",
        "**",
        "\\",
        "\\*",
        "a\0b",
        "\0",
        "\u00e9",
        "e\u0301",
    ),
    *("\U0001f600", "a\U0001f600b", "\U0001f600\u200d\U0001f600", "1", "true", "u0", "User", "1.5", 'User::"u0"'),
    *("\ud7ff\ue000", "\uffff", "\u2028", '"', "a\nb", "A", "\u0130", "ab" * 20),
]
_MAX = 2**63 - 1
LONGS = [0, 0, 1, 1, 2, 3, 10, -1, -2, _MAX, _MAX - 1, -_MAX, -_MAX - 1, 2**53, 2**53 + 1, 2**32, 3037000500]
DECIMALS = [
    *("1.5", "1.50", "1.5000", "01.5", "0.0", "-0.0", "-0.0000", "0.0001", "-0.0001", "-1.5", "2.0", "1.0"),
    *("922337203685477.5807", "-922337203685477.5808", "922337203685477.5806", "-922337203685477.5807"),
]
_BAD_DECIMALS = ["1", "1.", ".5", "1.12345", "922337203685477.5808", "+1.5", "1.5 ", "\u0661.5", "1e2", "--1.5", ""]
_ADDRESSES = ["10.0.0.1", "10.0.0.0/8", "::1", "127.0.0.1", "224.0.0.1", "nonsense"]
_DATES = ["2025-01-31", "2025-01-31T12:00:00Z", "2025-01-31T12:00:00.123+0100", "nonsense"]
_DURATIONS = ["1h", "60m", "-2d", "250ms", "0ms", "nonsense"]

#: Attributes by their kind; entities and contexts have the same ones.
NAMES = {
    "long": ["n", "m"],
    "string": ["s", "t"],
    "bool": ["f", "g"],
    "entity": ["e", "boss"],
    "decimal": ["d", "pay"],
    "strings": ["ls"],
    "longs": ["li"],
    "entities": ["le"],
    "mixed": ["lx", "ly"],
    "record": ["r", "like", "x y"],
    "extension": ["ip", "at", "for"],
}
_SIMPLE = ["long", "string", "bool", "entity"]
_ALL_NAMES = [name for names in NAMES.values() for name in names] + ["absent"]


class Request(NamedTuple):
    """A request; `context` is explicit Cedar JSON."""

    principal: EntityUid
    action: EntityUid
    resource: EntityUid
    context: dict[str, Json]


# --- values in explicit Cedar JSON -----------------------------------------------------------------------------------


def _reference(uid: EntityUid) -> Json:
    return {"__entity": {"type": uid.type, "id": uid.id}}


def _decimal(text: str) -> Json:
    return {"__extn": {"fn": "decimal", "arg": text}}


def _extension(rng: random.Random) -> Json:
    name, texts = rng.choice([("ip", _ADDRESSES), ("datetime", _DATES), ("duration", _DURATIONS)])
    return {"__extn": {"fn": name, "arg": rng.choice(texts[:-1])}}


def _value(rng: random.Random, kind: str, depth: int = 2) -> Json:
    """A value of that kind."""
    if kind in _SCALARS:
        return _SCALARS[kind](rng)
    if kind == "record":
        return _record(rng, depth)
    inner = {"strings": "string", "longs": "long", "entities": "entity"}.get(kind)
    if inner is None and rng.random() < 0.4:
        return rng.sample([True, False, 1, 0, "1", "", _decimal("1.0"), [], [1], [True], {}], rng.randint(0, 4))
    items = [_value(rng, inner or _any_kind(rng, depth), depth - 1) for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 4]))]
    return items + rng.sample(items, rng.randint(0, len(items))) if rng.random() < 0.3 else items


_SCALARS: dict[str, Callable[[random.Random], Json]] = {
    "long": lambda rng: rng.choice(LONGS),
    "string": lambda rng: rng.choice(STRINGS),
    "bool": lambda rng: rng.random() < 0.5,
    "entity": lambda rng: _reference(rng.choice(_UIDS)),
    "decimal": lambda rng: _decimal(rng.choice(DECIMALS)),
    "extension": _extension,
}


def _any_kind(rng: random.Random, depth: int) -> str:
    return rng.choice(["long", "string", "bool", "entity", "decimal", *(["mixed", "record"] if depth > 0 else [])])


def _record(rng: random.Random, depth: int) -> Json:
    if rng.random() < 0.2:
        # It has the shape of a reference and is none.
        return {"type": "User", "id": rng.choice(USERS).id}
    kinds = [kind for kind in NAMES if depth > 0 or kind in _SCALARS]
    fields = [(rng.choice(NAMES[kind]), kind) for kind in rng.sample(kinds, rng.randint(0, min(4, len(kinds))))]
    rng.shuffle(fields)
    return {name: _value(rng, kind, depth - 1) for name, kind in fields}


def _attributes(rng: random.Random, kinds: Sequence[str] = tuple(NAMES)) -> dict[str, Json]:
    """Attributes of these kinds under the known names, most of them there and of the right kind."""
    made = {}
    for kind in kinds:
        for name in NAMES[kind]:
            chance = rng.random()
            if chance < 0.88:
                made[name] = _value(rng, kind)
            elif chance < 0.93:
                made[name] = _value(rng, rng.choice(kinds))
    return made


def make_entities(rng: random.Random) -> list[dict[str, Json]]:
    """Entities in explicit Cedar JSON: users in groups in groups, and actions in groups. Some names are missing."""
    made = []
    for uids in (USERS[:-1], GROUPS[:-1]):
        for uid in uids:
            above = GROUPS[GROUPS.index(uid) + 1 :] if uid in GROUPS else GROUPS
            parents = rng.sample(above, min(len(above), rng.randint(0, 2)))
            if rng.random() < 0.5:
                # Those with simple values alone are kept in a form of their own.
                made.append({**_bare(uid, parents), "attrs": _attributes(rng, _SIMPLE)})
                continue
            tags = {rng.choice(STRINGS): _value(rng, rng.choice(list(NAMES))) for _ in range(rng.randint(0, 3))}
            made.append({**_bare(uid, parents), "attrs": _attributes(rng), "tags": tags})
    parents_of = {"read": ["any"], "write": ["readers"], "any": ["readers"], "readers": []}
    made += [
        _bare(EntityUid("Action", name), [EntityUid("Action", up) for up in ups]) for name, ups in parents_of.items()
    ]
    return [entity for entity in made if rng.random() < 0.95]


def _bare(uid: EntityUid, parents: Sequence[EntityUid]) -> dict[str, Json]:
    return {"uid": uid._asdict(), "attrs": {}, "parents": [parent._asdict() for parent in parents]}


def make_request(rng: random.Random) -> Request:
    """A request about those entities."""
    context = _attributes(rng)
    if rng.random() < 0.95:
        # As the arguments of a call stand there; now and then it is no record.
        context["input"] = (
            _attributes(rng) if rng.random() < 0.9 else rng.choice(list(_attributes(rng).values()) or [1])
        )
    return Request(rng.choice(USERS), rng.choice(ACTIONS[:2]), rng.choice([*USERS, *GROUPS]), context)


# --- conditions ------------------------------------------------------------------------------------------------------


def make_policy(rng: random.Random) -> str:
    """A permit for everything under one to three random conditions."""
    clauses = [
        f"{rng.choice(['when', 'when', 'unless'])} {{ {Maker(rng).boolean(4)} }}"
        for _ in range(rng.choice([1, 1, 2, 3]))
    ]
    return f"permit (principal, action, resource) {' '.join(clauses)};"


def literal(uid: EntityUid) -> str:
    """The uid in Cedar's syntax."""
    return f"{uid.type}::{quoted(uid.id)}"


#: Values that are easily taken for one another.
_TWINS = ["true", "false", "1", "0", '"1"', 'decimal("1.0")', "[]", "[1]", "[true]", "{}", "context.n", "context.f"]


class Maker:
    """Makes expressions as Cedar text, each in brackets where it has parts. `depth` bounds how far they nest."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def of_kind(self, kind: str, depth: int) -> str:
        """An expression of that kind, mostly."""
        if self._rng.random() < 0.015:
            kind = self._rng.choice(list(_KINDS))
        return _KINDS[kind](self, depth)

    def _some(self, depth: int) -> str:
        if self._rng.random() < 0.4:
            return self._rng.choice(_TWINS)
        return self.of_kind(self._rng.choice(["long", "string", "bool", "entity", "decimal", "set", "record"]), depth)

    def _either(self, kind: str, depth: int) -> str:
        return f"(if {self.boolean(depth)} then {self.of_kind(kind, depth)} else {self.of_kind(kind, depth)})"

    def _attribute(self, kind: str, depth: int) -> str:
        """An attribute of that kind, of the context, an entity or a record."""
        names = NAMES[kind] if self._rng.random() < 0.97 else _ALL_NAMES
        holder = self._rng.choice(
            ["context", "context", "context.input", "context.input", "principal", "resource", "deep"]
        )
        if holder == "deep":
            holder = self.entity(depth - 1) if self._rng.random() < 0.5 else self.record(depth - 1)
        return self._step(holder, self._rng.choice(names))

    def _step(self, holder: str, name: str) -> str:
        plain = name.isidentifier() and name not in ("for", "like") and self._rng.random() < 0.8
        return f"{holder}.{name}" if plain else f"{holder}[{quoted(name)}]"

    def _pick(self, kind: str, depth: int, *leaves: Callable[[], str]) -> str:
        """A leaf, or one of the ways to any kind of value."""
        chance = self._rng.random()
        if depth > 0 and chance < 0.06:
            return self._either(kind, depth - 1)
        if depth > 0 and chance < 0.09 and kind in NAMES:
            field = self._rng.choice(["a", "type", "id"])
            return f"{{{field}: {self.of_kind(kind, depth - 1)}, b: {self._some(depth - 1)}}}.{field}"
        if depth > 0 and chance < 0.12 and kind in NAMES:
            return f"{self.entity(depth - 1)}.getTag({self.string(depth - 1)})"
        return self._rng.choice(leaves)()

    def long(self, depth: int) -> str:
        """An integer."""

        def written() -> str:
            number = self._rng.choice(LONGS)
            return str(number) if number >= 0 else f"({number})"

        def calculated() -> str:
            if depth <= 0:
                return written()
            if self._rng.random() < 0.2:
                return f"(-({self.of_kind('long', depth - 1)}))"
            operator = self._rng.choice("+-*")
            return f"({self.of_kind('long', depth - 1)} {operator} {self.of_kind('long', depth - 1)})"

        return self._pick("long", depth, written, calculated, lambda: self._attribute("long", depth))

    def string(self, depth: int) -> str:
        """A string."""
        return self._pick(
            "string",
            depth,
            lambda: quoted(self._rng.choice(STRINGS)),
            lambda: self._attribute("string", depth),
        )

    def decimal(self, depth: int) -> str:
        """A decimal."""

        def called() -> str:
            texts = _BAD_DECIMALS if self._rng.random() < 0.1 else DECIMALS
            return f"decimal({quoted(self._rng.choice(texts))})"

        return self._pick(
            "decimal",
            depth,
            called,
            lambda: self._attribute("decimal", depth),
            called,
            lambda: f"decimal({self.string(depth - 1)})" if self._rng.random() < 0.1 else called(),
        )

    def entity(self, depth: int) -> str:
        """An entity."""
        return self._pick(
            "entity",
            depth,
            lambda: literal(self._rng.choice(_UIDS)),
            lambda: self._rng.choice(["principal", "resource", "action"]),
            lambda: self._rng.choice(["principal", "resource"]),
            lambda: self._attribute("entity", depth) if depth > 0 else "principal",
        )

    def set(self, depth: int) -> str:
        """A set."""
        kind = self._rng.choice(["long", "string", "entity", "any"])
        return self.set_of(kind, depth)

    def set_of(self, kind: str, depth: int) -> str:
        """A set of values of that kind, or of `any`."""

        def written() -> str:
            count = self._rng.choice([0, 1, 2, 2, 3])
            inner = depth - 1 if depth > 0 else 0
            made = [self._some(inner) if kind == "any" else self.of_kind(kind, inner) for _ in range(count)]
            return f"[{', '.join(made + made[: self._rng.choice([0, 0, 1])])}]"

        held = {"long": "longs", "string": "strings", "entity": "entities"}.get(kind, "mixed")
        if depth <= 0 and kind == "any":
            return self._attribute(held, depth)
        return written() if self._rng.random() < 0.5 else self._attribute(held, depth)

    def record(self, depth: int) -> str:
        """A record."""

        def written() -> str:
            if depth <= 0:
                return self._rng.choice(["{}", "context", '{type: "User", id: "u0"}', "{n: 1}"])
            kinds = ["long", "string", "bool", "entity", "decimal", "record"]
            fields = {self._rng.choice(NAMES[kind]): kind for kind in self._rng.sample(kinds, self._rng.randint(0, 3))}
            return (
                f"{{{', '.join(f'{quoted(name)}: {self.of_kind(kind, depth - 1)}' for name, kind in fields.items())}}}"
            )

        if self._rng.random() < 0.5:
            return written()
        return self._attribute("record", depth) if depth > 0 else "context"

    def extension(self, depth: int) -> str:
        """A value that only Cedar knows."""
        called = [
            f"ip({quoted(self._rng.choice(_ADDRESSES))})",
            f"datetime({quoted(self._rng.choice(_DATES))})",
            f"duration({quoted(self._rng.choice(_DURATIONS))})",
        ]
        return self._rng.choice([*called, self._attribute("extension", depth)])

    def boolean(self, depth: int) -> str:
        """A condition."""
        if depth <= 0:
            return self._rng.choice(["true", "false", "context.f", "context.g", "(principal == resource)"])
        if self._rng.random() < 0.03:
            return self._extended(depth - 1)
        make = self._rng.choice(_BOOLEANS)
        return f"({make(self, depth - 1)})"

    def _extended(self, depth: int) -> str:
        one, other = self.extension(depth), self.extension(depth)
        return self._rng.choice(
            [
                f"{one}.isIpv4()",
                f"{one}.isLoopback()",
                f"{one}.isInRange({other})",
                f"({one} < {other})",
                f"({one} == {other})",
                f"({one}.toMilliseconds() == {self.long(depth)})",
                f"({one}.offset({other}) == {one}.toDate())",
                f"[{one}, {other}].contains({one})",
            ]
        )

    def _joined(self, depth: int) -> str:
        operator = self._rng.choice(["&&", "||"])
        count = self._rng.choice([2, 2, 2, 3, 4])
        return f" {operator} ".join(self.of_kind("bool", depth) for _ in range(count))

    def _negated(self, depth: int) -> str:
        return f"!{self.of_kind('bool', depth)}"

    def _chosen(self, depth: int) -> str:
        return self._either("bool", depth)

    def _leaf(self, depth: int) -> str:
        return self._attribute("bool", depth)

    def _equal(self, depth: int) -> str:
        kind = self._rng.choice(
            ["long", "string", "bool", "entity", "decimal", "set", "record", "same", "shuffled", "any"]
        )
        operator = self._rng.choice(["==", "==", "!="])
        if kind == "any":
            return f"{self._some(depth)} {operator} {self._some(depth)}"
        if kind == "shuffled":
            return f"{' == '.join(self._shuffled([self._some(depth) for _ in range(self._rng.randint(1, 3))]))}"
        if kind == "same":
            return f"{(one := self._some(depth))} {operator} {one}"
        return f"{self.of_kind(kind, depth)} {operator} {self.of_kind(kind, depth)}"

    def _shuffled(self, items: list[str]) -> list[str]:
        """The items as a set, or as a record in a set, twice, in different order and now and then not the same."""
        others = self._rng.sample([*items, self._rng.choice(items)], self._rng.randint(len(items), len(items) + 1))
        if self._rng.random() < 0.5:
            return [f"[{', '.join(part)}]" for part in (items, others)]
        named = [f'"{number}": {item}' for number, item in enumerate(items)]
        return [f"[{{{', '.join(part)}}}]" for part in (named, named[::-1])]

    def _compared(self, depth: int) -> str:
        return f"{self.of_kind('long', depth)} {self._rng.choice(['<', '<=', '>', '>='])} {self.of_kind('long', depth)}"

    def _compared_decimals(self, depth: int) -> str:
        name = self._rng.choice(["lessThan", "lessThanOrEqual", "greaterThan", "greaterThanOrEqual"])
        return f"{self.of_kind('decimal', depth)}.{name}({self.of_kind('decimal', depth)})"

    def _like(self, depth: int) -> str:
        if self._rng.random() < 0.4:
            # Short texts of two letters, where the literals of a pattern want the same place.
            text = "".join(self._rng.choices("ab", k=self._rng.randint(1, 6)))
            start, end = (self._rng.randint(0, len(text)) for _ in range(2))
            middle = "".join(self._rng.choices("ab***", k=self._rng.randint(0, 4)))
            return f'"{text}" like "{text[:start]}*{middle}{text[end:]}"'
        parts = [
            "*" if self._rng.random() < 0.45 else quoted(self._rng.choice(STRINGS))[1:-1].replace("*", "\\*")
            for _ in range(self._rng.choice([0, 1, 2, 3, 4, 5]))
        ]
        return f'{self.of_kind("string", depth)} like "{"".join(parts)}"'

    def _in(self, depth: int) -> str:
        outer = self.set_of("entity", depth) if self._rng.random() < 0.4 else self.of_kind("entity", depth)
        inner = self._rng.choice(["principal", "resource", "action", self.of_kind("entity", depth)])
        if self._rng.random() < 0.4:
            outer = literal(self._rng.choice([*GROUPS, *ACTIONS]))
        return f"{inner} in {outer}"

    def _is(self, depth: int) -> str:
        name = self._rng.choice(["User", "User", "Team::Group", "Group", "Action", "user"])
        inner = f" in {self.of_kind('entity', depth)}" if self._rng.random() < 0.4 else ""
        return f"{self.of_kind('entity', depth)} is {name}{inner}"

    def _has(self, depth: int) -> str:
        holder = self._rng.choice(
            ["context", "context.input", "principal", "resource", self.entity(depth), self.record(depth)]
        )
        chain = self._rng.choice([["n"], ["absent"], ["e", "n"], ["boss", "e", "s"], ["r", "r"], ["r", "d"], ["boss"]])
        if self._rng.random() < 0.5:
            return f"{holder} has {'.'.join(chain)}"
        if self._rng.random() < 0.5:
            return f"{holder} has {quoted(self._rng.choice(_ALL_NAMES))}"
        name = self._rng.choice(NAMES["long"])
        return (
            f"{holder} has {name} && {holder}.{name} {self._rng.choice(['<', '==', '>'])} {self.of_kind('long', depth)}"
        )

    def _tagged(self, depth: int) -> str:
        holder, key = self.of_kind("entity", depth), self.of_kind("string", depth)
        if self._rng.random() < 0.5:
            return f"{holder}.hasTag({key})"
        return f"{holder}.hasTag({key}) && {holder}.getTag({key}) == {self._some(depth)}"

    def _contains(self, depth: int) -> str:
        kind = self._rng.choice(["long", "string", "entity", "any"])
        item = self._some(depth) if kind == "any" else self.of_kind(kind, depth)
        return f"{self.set_of(kind, depth)}.contains({item})"

    def _contains_many(self, depth: int) -> str:
        kind = self._rng.choice(["long", "string", "entity", "any"])
        name = self._rng.choice(["containsAll", "containsAny"])
        return f"{self.set_of(kind, depth)}.{name}({self.set_of(kind, depth)})"

    def _is_empty(self, depth: int) -> str:
        return f"{self.of_kind('set', depth)}.isEmpty()"

    def _shielded(self, depth: int) -> str:
        """Something that would err, behind something that is true or false now and then."""
        wrong = self._rng.choice(["context.absent", '"a" < 1', f"{_MAX} + 1 > 0", "1", 'decimal("x") == 1'])
        return f"{self.boolean(depth)} {self._rng.choice(['&&', '||'])} ({wrong})"


_KINDS: dict[str, Callable[[Maker, int], str]] = {
    "bool": Maker.boolean,
    "long": Maker.long,
    "string": Maker.string,
    "decimal": Maker.decimal,
    "entity": Maker.entity,
    "set": Maker.set,
    "record": Maker.record,
    "extension": Maker.extension,
}
_BOOLEANS: list[Callable[[Maker, int], str]] = [
    *(Maker._joined, Maker._joined, Maker._joined, Maker._negated, Maker._chosen, Maker._leaf, Maker._leaf),
    *(Maker._equal, Maker._equal, Maker._equal, Maker._equal, Maker._compared, Maker._compared),
    *(Maker._compared_decimals, Maker._like, Maker._like, Maker._in, Maker._in, Maker._is, Maker._has, Maker._has),
    *(Maker._tagged, Maker._contains, Maker._contains, Maker._contains_many, Maker._contains_many, Maker._is_empty),
    Maker._shielded,
]
