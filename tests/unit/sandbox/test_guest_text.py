"""Text of modules, made fit for people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pdp.sandbox.guest_text import bounded
from pdp.sandbox.model import ErrorClass, GuestFailureError, ModuleRefusedError


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain\ttext\nof two lines", "plain\ttext\nof two lines"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\r\x08\x00\x7f\x9b", "\\r\\x08\\x00\\x7f\\x9b"),
        ("\u202eright to left", "\\u202eright to left"),
        ("\u2028\u200b\ufeff", "\\u2028\\u200b\\ufeff"),
        ("\ud800", "\\ud800"),
        ("é\U0001f600", "é\U0001f600"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_control_characters_are_shown(text: str, shown: str) -> None:
    """What a terminal would obey, or what would be invisible, is shown as an escape."""
    assert bounded(text, 1_000) == shown


@given(st.text(st.characters(), max_size=60), st.integers(min_value=3, max_value=80))
def test_text_is_bounded_and_safe(text: str, most: int) -> None:
    """Whatever the text: it has at most so many bytes, is Unicode, and all of it can be printed."""
    shown = bounded(text, most)
    assert len(shown.encode()) <= most
    assert shown.replace("\n", "").replace("\t", "").isprintable()


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=40))
def test_text_that_fits_stays_as_it_is(text: str) -> None:
    """Printable text within the bound is not touched; one byte less, and it is cut with an ellipsis."""
    size = len(text.encode())
    assert bounded(text, max(size, 3)) == text
    if size > 3:
        assert bounded(text, size - 1).endswith("…")


def test_huge_text_is_cut() -> None:
    """A megabyte of control characters is cut like any other text."""
    assert bounded("\x1b" * 1_000_000, 13) == "\\x1b\\x1b\\x…"


@pytest.mark.parametrize("kind", [GuestFailureError, ModuleRefusedError])
def test_reasons_are_bounded(kind: type[GuestFailureError | ModuleRefusedError]) -> None:
    """No failure carries more than 4,000 bytes of what a module said, nor anything that a terminal would obey."""
    error = kind(ErrorClass.TRAP, "\x1b" + "é" * 10_000)
    assert len(error.reason.encode()) <= 4_000
    assert error.reason.startswith("\\x1bé")
    assert str(error) == f"trap: {error.reason}"
