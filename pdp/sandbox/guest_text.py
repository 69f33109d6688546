"""Text that a module wrote, for people: bounded, and without what a terminal would obey."""

from __future__ import annotations


def bounded(text: str, max_bytes: int) -> str:
    """`text` in at most `max_bytes` bytes of UTF-8, cut with `…`; control characters are shown as escapes."""
    # Four bytes a character at most, and an escape is longer than what it stands for: nothing beyond can be seen.
    shown = "".join(map(_shown, text[:max_bytes])).encode("utf-8", "backslashreplace")
    if len(shown) <= max_bytes and len(text) <= max_bytes:
        return shown.decode()
    return shown[: max_bytes - 3].decode("utf-8", "ignore") + "…"


def _shown(character: str) -> str:
    if character.isprintable() or character in "\n\t":
        return character
    return character.encode("unicode_escape").decode("ascii")
