"""Places in Cedar text."""

from __future__ import annotations

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.cedar.syntax import (
    MAX_NESTING,
    LineIndex,
    find_policy_excess,
    find_schema_excess,
    locate_error,
    split_statements,
    tokens,
)

_PIECES = st.sampled_from(
    [";", '"', "\\", "//", "\n", " ", "a", '"x;y"', '"\\""', "permit", "(", ")", "é", "/", '";"', "\t"]
)


@given(st.lists(_PIECES, max_size=30).map("".join))
def test_splitting_loses_nothing(text: str) -> None:
    """Statements stand in the text where they say, in order, and only blanks and comments lie between them."""
    end = 0
    for statement in split_statements(text):
        assert text.startswith(statement.text, statement.offset)
        assert list(tokens(text[end : statement.offset])) == []
        assert statement.text.strip()
        end = statement.offset + len(statement.text)
    assert list(tokens(text[end:])) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("// all; comment", []),
        ("a;b;", ["a;", "b;"]),
        ('a ";" b;', ['a ";" b;']),
        ('a "\\";" b; c', ['a "\\";" b;', "c"]),
        ("a // not; here\n b;", ["a // not; here\n b;"]),
        ("// first;\n a;", ["a;"]),
        ("a; // ; \n", ["a;"]),
        ('a // "\n; b;', ['a // "\n;', "b;"]),
        ('a "// no comment"; b;', ['a "// no comment";', "b;"]),
        ("a;;", ["a;", ";"]),
    ],
)
def test_statements_end_at_semicolons(text: str, expected: list[str]) -> None:
    """A `;` in a string or a comment ends nothing, and what follows the last one is a statement too."""
    assert [statement.text for statement in split_statements(text)] == expected


def test_lines_and_columns_count_characters() -> None:
    """Positions count from 1 in characters, with any line end."""
    index = LineIndex("ä\U0001f600b\r\nc\n\nd")
    assert [index.position(offset) for offset in (0, 2, 3, 5, 7, 8)] == [(1, 1), (1, 3), (1, 4), (2, 1), (3, 1), (4, 1)]
    assert LineIndex("").position(0) == (1, 1)


# --- bombs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opening", ["(", "[", "{", "-(", "ip([{", "a("])
def test_nesting_is_found(opening: str) -> None:
    """Brackets beyond the bound are found at the one that is too many, whether or not they are closed."""
    depth = sum(opening.count(bracket) for bracket in "([{")
    text = "permit(principal, action, resource) when { " + opening * MAX_NESTING
    offset = find_policy_excess(text)
    assert offset is not None
    assert sum(text[: offset + 1].count(b) for b in "([{") - text[:offset].count(")") == MAX_NESTING + 1
    assert find_policy_excess("when { " + opening * ((MAX_NESTING - 1) // depth)) is None


@pytest.mark.parametrize("hidden", ['"{}"', "// {}\n", '"\\"{}"', '// "\n // {}\n', '"//" "{}"'])
def test_brackets_in_strings_and_comments_do_not_count(hidden: str) -> None:
    """What Cedar does not see as brackets is not counted as such."""
    assert find_policy_excess(hidden.replace("{}", "(" * 1_000)) is None


@pytest.mark.parametrize("shown", ['"{', '// "\n{', '"\\\\"{', '/ "a" /{', "'{", '"a" // "\n {'])
def test_brackets_outside_of_strings_count(shown: str) -> None:
    """Quotes in comments, quotes without an end and escaped backslashes hide no bracket that Cedar would see."""
    assert find_policy_excess(shown.replace("{", "(" * 1_000)) is not None


@pytest.mark.parametrize(
    "link", [" && true", " + 1", ".a", " !", " == 1", " || false", " -", " * 2", '["a"]', '//\n["a"]', ".f(1)(2)"]
)
def test_chains_are_found(link: str) -> None:
    """Operators in a row are bounded, not only brackets: Cedar's parser recurses on them as well."""
    assert find_policy_excess("when { a" + link * 4_100) is not None
    assert find_policy_excess("when { a" + link * 1_000) is None


def test_conditions_in_conditions_are_found() -> None:
    """`if` inside `if` is bounded."""
    assert find_policy_excess("when { " + "if true then true else " * 300) is not None
    assert find_policy_excess("when { " + "if true then true else " * 100) is None
    assert find_policy_excess("when { " + "context.if_a " * 300) is None


def test_tests_for_long_paths_are_found() -> None:
    """`has a.b.c` stands for a test of each step, and what it stands for grows with the square of its length."""
    assert find_policy_excess("when { context has a" + ".a" * 100) is not None
    assert find_policy_excess("when { context has a // so\n" + " . a" * 100) is not None
    assert find_policy_excess("when { context has a" + ".a" * 50 + " && context.b" * 500) is None
    assert find_policy_excess("when { (context has a) && context" + ".a" * 100) is None


def test_schemas_may_be_long() -> None:
    """Thousands of declarations nest no deeper than one."""
    assert find_schema_excess("".join(f"entity A{n} in [G] {{ x: Set<Long> }};" for n in range(5_000))) is None


def test_schemas_nest_in_type_arguments_too() -> None:
    """`Set<Set<…` is nesting."""
    assert find_schema_excess("entity A { x: " + "Set<" * 100) is not None
    assert find_schema_excess("entity A { x: " + "Set<" * 50) is None


# --- places of errors ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("permit(principal, action, resource) when { context.a === 1 };", 55),
        ("permit(principal, action, resource) when { 1 == 1 == 1 };", 0),
        ('permit(principal, action, resource) when { "}" == } };', 50),
        ("permit(principal, action, resource) when { foo(1) };", 43),
        ("permit(principal, action, recource);", 26),
        ("permit(principal, action, resource", 33),
        ("permit(principal, action, resource) when { principal == ?principal };", 36),
    ],
)
def test_policy_errors_have_a_place(text: str, place: int) -> None:
    """The offset is that of the token which Cedar complains about, not of the first that looks like it."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is Cedar's
        cedarpy.PolicySet.from_str(text)
    assert locate_error(text, str(caught.value), cedarpy.PolicySet.from_str) == place


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("entity A { x: Long ];", 19),
        ("entity A = { x: Nope };", 16),
        ("entity A in [Nope];", 13),
        ("entity A; entity A;", 7),
        ("entity A { x: Long", 17),
    ],
)
def test_schema_errors_have_a_place(text: str, place: int) -> None:
    """The same goes for schemas."""
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is Cedar's
        cedarpy.Schema.from_str(text)
    assert locate_error(text, str(caught.value), cedarpy.Schema.from_str) == place


def test_messages_without_a_hint_point_at_the_start() -> None:
    """A message that names nothing in the text is about all of it."""
    assert locate_error("permit;", "something is wrong", cedarpy.PolicySet.from_str) == 0
