"""What of the arguments is never written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.decision_log.masking import masking
from pdp.errors import ConfigError

DOCUMENT = {
    "password": "s3cret",
    "headers": {"authorization": "s3cret", "x-y": "s3cret", "accept": "*"},
    "items": [{"card": "s3cret", "n": 1}, {"card": ["s3cret"], "n": 2}, "text"],
    "deep": {"a": [{"token": "s3cret"}, [{"token": {"x": "s3cret"}}]], "token": None},
}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$.password", {**DOCUMENT, "password": "[masked]"}),
        ("$['password']", {**DOCUMENT, "password": "[masked]"}),
        ('$["headers"]["x-y"]', {**DOCUMENT, "headers": {**DOCUMENT["headers"], "x-y": "[masked]"}}),  # type: ignore[dict-item]
        ("$.headers.*", {**DOCUMENT, "headers": dict.fromkeys(DOCUMENT["headers"], "[masked]")}),
        (
            "$.items[*].card",
            {**DOCUMENT, "items": [{"card": "[masked]", "n": 1}, {"card": "[masked]", "n": 2}, "text"]},
        ),
        ("$.items[1]", {**DOCUMENT, "items": [DOCUMENT["items"][0], "[masked]", "text"]}),  # type: ignore[index]
        (
            "$..token",
            {**DOCUMENT, "deep": {"a": [{"token": "[masked]"}, [{"token": "[masked]"}]], "token": "[masked]"}},
        ),
        ("$.*", dict.fromkeys(DOCUMENT, "[masked]")),
        ("$.items[9]", DOCUMENT),
        ("$.password.more", DOCUMENT),
        ("$.absent", DOCUMENT),
    ],
)
def test_what_is_named_is_masked(path: str, expected: object) -> None:
    """Exactly the values at the places that a path names are replaced."""
    mask = masking([path])
    assert mask is not None
    shown = mask(json.dumps(DOCUMENT).encode())
    assert shown is not None
    assert json.loads(shown) == expected


def test_what_is_not_masked_keeps_its_value() -> None:
    """Numbers are exact, and text without a hit is not touched at all."""
    mask = masking(["$.x"])
    assert mask is not None
    assert mask(b'{"a":1.10, "n":9007199254740993}') == '{"a":1.10, "n":9007199254740993}'
    assert mask(b'{"a":1.10,"n":9007199254740993,"x":1,"t":"\\u00e4\\n","l":[true,false,null]}') == (
        '{"a":1.10,"n":9007199254740993,"x":"[masked]","t":"\\u00e4\\n","l":[true,false,null]}'
    )


@pytest.mark.parametrize(
    "text",
    [
        b'{"x":1,"x":2}',
        b'{"\\u0078":1,"x":2}',
        b"{",
        b"\xff",
        b'{"x":1} {}',
        b"\xef\xbb\xbf{}",
        b"[" * 100 + b"]" * 100,
    ],
)
def test_what_readers_differ_on_is_not_written(text: bytes) -> None:
    """Where another reader could see another document, nothing of it is shown."""
    mask = masking(["$.x"])
    assert mask is not None
    assert mask(text) is None


def test_an_escaped_name_is_the_same_name() -> None:
    """A name that is written with escapes is masked like the plain one."""
    mask = masking(["$.x"])
    assert mask is not None
    assert mask(b'{"\\u0078":"s3cret"}') == '{"x":"[masked]"}'


@pytest.mark.parametrize(
    "path",
    ["", "$", "password", "$.", "$..", "$.a-b", "$[-1]", "$[1:2]", "$[?@.a]", "$['a'", "$.a b", "$[01]", "$..[*]x"],
)
def test_what_is_no_path_is_a_wrong_configuration(path: str) -> None:
    """A path that would silently mask nothing, or not what was meant, is refused."""
    with pytest.raises(ConfigError, match="is not a path"):
        masking(["$.fine", path])


def test_without_paths_there_is_nothing_to_do() -> None:
    """No paths, no mask."""
    assert masking([]) is None


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text(), st.lists).map(lambda v: json.dumps(v).encode()))
def test_any_bytes_are_masked_or_refused(text: bytes) -> None:
    """Whatever the arguments are, masking ends with text or without."""
    mask = masking(["$..a", "$[*][*]", "$..[*]..b"])
    assert mask is not None
    assert isinstance(mask(text), str | None)
