"""A list of texts in a configuration."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import AfterValidator


def each(fits: Callable[[str], object], otherwise: str) -> AfterValidator:
    """Takes the list if every text fits, and names all that do not: `otherwise` says what they are, `is not a name`."""

    def checked(texts: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [f"`{text}` {otherwise}" for text in texts if not fits(text)]
        if wrong:
            raise ValueError("\n".join(wrong))
        return texts

    return AfterValidator(checked)


def is_line(text: str) -> bool:
    """Whether it is text of one line, and not empty."""
    return bool(text) and text.isprintable()
