"""Random messages of any protobuf type: its descriptor says what there is, and names of fields what would make sense.

A message is built with values that often mean something, then, now and then, its bytes are damaged, get fields that
nobody knows, or are put together from two messages.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from tests.fuzz.hostile_json import TEXTS, JsonMaker

_DEEPEST = 5
#: How often a field is set, by depth.
_FILLED = (0.85, 0.85, 0.7, 0.5, 0.3, 0.2)
_INTEGERS = (0, 1, 2, 3, 7, 50, 100, 99_999, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1, -1, -(2**31), -(2**63))
_FLOATS = (0.0, -0.0, 1.5, 1e308, float("inf"), float("-inf"), float("nan"))
_BITS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
#: Fields beyond those of any type, of every wire type, and what is no field at all.
_FOREIGN = (
    b"\x9a\x3e\x03abc", b"\xf8\x3f\x01", b"\xfd\x3f\0\0\0\0", b"\xf9\x3f" + bytes(8), b"\xfb\x3f\xfc\x3f", b"\x0b",
    b"\x00", b"\xff" * 11, b"\x0a\xff\xff\xff\xff\x0f", b"\x0f", b"\xfa\xff\xff\xff\x0f\x00",
)  # fmt: skip

#: What may stand in a field with this name.
Hints = Mapping[str, Callable[[], Any]]


class FormMaker:
    """Makes messages from one source of chance."""

    def __init__(self, chance: random.Random, hints: Hints, often: Mapping[str, float]) -> None:
        """`often` says how often fields with a name are set, where that is not as for all others."""
        self._often = often
        self._chance = chance
        self._hints = hints
        self._json = JsonMaker(chance)

    def data(self, descriptor: Descriptor) -> bytes:
        """The bytes of a message of this type, or of something like one."""
        kind = self._chance.randrange(40)
        if kind == 0:
            return self._chance.randbytes(self._chance.randrange(60))
        data = self.message(descriptor).SerializeToString()
        if kind < 3:
            return self._json.damaged(data)
        if kind < 6:
            return data + self._chance.choice(_FOREIGN)
        if kind == 6:
            # Two messages one after the other are one message.
            return data + self.message(descriptor).SerializeToString()
        return data

    def message(self, descriptor: Descriptor, depth: int = 0) -> Message:
        """A message of this type."""
        made = GetMessageClass(descriptor)()
        chosen = {oneof.name: self._chance.choice(oneof.fields).name for oneof in descriptor.oneofs}
        for field in descriptor.fields:
            oneof = field.containing_oneof
            if oneof is not None and chosen[oneof.name] != field.name:
                continue
            if self._chance.random() < self._often.get(field.name, _FILLED[depth]):
                self._fill(made, field, depth)
        return made

    def _fill(self, made: Message, field: FieldDescriptor, depth: int) -> None:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            self._fill_map(made, field, depth)
        elif field.is_repeated:
            values = [self._value(field, depth) for _ in range(self._chance.choice((0, 1, 1, 2, 3)))]
            getattr(made, field.name).extend(value for value in values if value is not None)
        elif field.message_type is not None:
            value = self._value(field, depth)
            if value is not None:
                getattr(made, field.name).CopyFrom(value)
        else:
            setattr(made, field.name, self._value(field, depth))

    def _fill_map(self, made: Message, field: FieldDescriptor, depth: int) -> None:
        assert field.message_type is not None
        key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        for _ in range(self._chance.randrange(3)):
            place, found = self._value(key, depth), self._value(value, depth + 1)
            if value.message_type is None:
                getattr(made, field.name)[place] = found
            elif found is not None:
                getattr(made, field.name)[place].CopyFrom(found)

    def _value(self, field: FieldDescriptor, depth: int) -> Any:
        kind = field.cpp_type
        if field.name in self._hints and field.message_type is None and self._chance.random() < 0.97:
            hinted = _fitting(field, self._hints[field.name]())
            if hinted is not None:
                return hinted
        if field.message_type is not None:
            return self.message(field.message_type, depth + 1) if depth < _DEEPEST else None
        if field.enum_type is not None:
            return self._chance.choice([*(value.number for value in field.enum_type.values), 99, -1])
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return self._chance.random() < 0.5
        if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
            return self._chance.choice(_FLOATS)
        if kind == FieldDescriptor.CPPTYPE_STRING:
            return self._blob() if field.type == FieldDescriptor.TYPE_BYTES else self._chance.choice(TEXTS)
        lowest, highest = _BITS[kind]
        return min(max(self._chance.choice(_INTEGERS), lowest), highest)

    def _blob(self) -> bytes:
        return self._json.text(self._json.record)


def _fitting(field: FieldDescriptor, value: Any) -> Any:
    """A hinted value as this field can have it, or None."""
    if field.type == FieldDescriptor.TYPE_BYTES:
        return value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else None
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return (
            value.decode("utf-8", "ignore") if isinstance(value, bytes) else value if isinstance(value, str) else None
        )
    return value if isinstance(value, int) and field.cpp_type == FieldDescriptor.CPPTYPE_ENUM else None


class Chance(random.Random):
    """Chance with a way to take what is mostly right."""

    def mostly(self, good: Sequence[Any], *others: Sequence[Any]) -> Any:
        """One of `good`, eleven times of twelve; else one of all others."""
        if self.randrange(12) or not others:
            return self.choice(good)
        return self.choice(self.choice(others))
