"""Entity uids and their written form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.cedar.model import EntityUid, is_action_type, is_entity_type, parse_uid
from pdp.cedar.policies import parse_policies

_TEXTS = st.text(alphabet=st.sampled_from('a"\\\n\r\t\x00\x7f\u2028\u202eé{}\U0001f600') | st.characters(codec="utf-8"))


@given(_TEXTS)
def test_what_is_written_reads_back(text: str) -> None:
    """Any id survives being written and read, here and by Cedar, and is written in one printable line."""
    uid = EntityUid("Acme::User", text)
    assert parse_uid(str(uid)) == uid
    assert str(uid).isprintable()
    [policy] = parse_policies("p.cedar", f"permit(principal == {uid}, action, resource);").policies
    assert policy.scope.principal.uid == uid


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('User::"a"', "a"),
        ('  User::"a"\n', "a"),
        ('User::""', ""),
        ('User::"\\n\\r\\t\\0\\\\\\"\\\'"', "\n\r\t\0\\\"'"),
        ('User::"\\x41\\u{42}\\u{1F600}"', "AB\U0001f600"),
        ('User::"a\nb"', "a\nb"),
    ],
)
def test_cedars_escapes_are_read(text: str, name: str) -> None:
    """Every escape of Cedar's means what it means there."""
    assert parse_uid(text) == EntityUid("User", name)


@pytest.mark.parametrize(
    "text",
    [
        *("", "User", 'User:"a"', 'User::"a', "User::a", '"a"', 'User::"a"b', 'User::"a" x', '1::"a"', 'if::"a"'),
        *('A B::"a"', 'User::"\\q"', 'User::"\\u{110000}"', 'User::"\\u{d800}"', 'User::"\\x80"', 'User::"\\u41"'),
        "User::'a'",
    ],
)
def test_what_is_no_uid_is_refused(text: str) -> None:
    """Whatever Cedar would not take is refused here as well."""
    with pytest.raises(ValueError, match="is not"):
        parse_uid(text)
    assert parse_policies("p.cedar", f"permit(principal == {text}, action, resource);").problems


def test_types_are_bounded() -> None:
    """A type's name has at most 256 characters, so that what is known of names stays small."""
    assert is_entity_type("A" * 256)
    assert not is_entity_type("A" * 257)


def test_actions_are_known_by_their_type() -> None:
    """An entity is an action by the last part of its type, in any namespace."""
    assert [is_action_type(name) for name in ("Action", "A::Action", "MyAction", "Action::A", "action")] == [
        True,
        True,
        False,
        False,
        False,
    ]
