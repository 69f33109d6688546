"""The same checks as plain Python: what an operator would write who has no sandbox, or has one in a webhook."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from typing import Any

from bench.interceptors.subjects import ROOTS

#: Takes a call's arguments or its result, and gives a reply as interceptors do.
Check = Callable[[Any], dict[str, Any]]

#: Most kinds of `redact_secrets`: words that a text has to hold, and what is then looked for. Looking for the words
#: first makes it several times as fast. The module has more kinds, and looks at the names of members.
_SECRETS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("aws-key", ("AKIA", "ASIA"), r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    (
        "github-token",
        ("ghp_", "gho_", "ghs_", "ghu_", "ghr_", "github_pat_"),
        r"\b(?:gh[opsur]_[0-9A-Za-z]{36}|github_pat_[0-9A-Za-z_]{36,})\b",
    ),
    ("gitlab-token", ("glpat-",), r"\bglpat-[0-9A-Za-z_-]{20,}"),
    ("slack-token", ("xox",), r"\bxox[abprs]-[0-9A-Za-z-]{10,}"),
    ("anthropic-key", ("sk-ant-",), r"\bsk-ant-[0-9A-Za-z_-]{20,}"),
    ("openai-key", ("sk-",), r"\bsk-(?:proj-)?[0-9A-Za-z_-]{20,}"),
    ("google-key", ("AIza",), r"\bAIza[0-9A-Za-z_-]{35}"),
    ("stripe-key", ("_live_", "_test_"), r"\b[rs]k_(?:live|test)_[0-9A-Za-z]{16,}"),
    (
        "service-token",
        ("npm_", "hf_", "pypi-"),
        r"\b(?:npm_[0-9A-Za-z]{36}|hf_[0-9A-Za-z]{30,}|pypi-[0-9A-Za-z_-]{50,})",
    ),
    ("private-key", ("PRIVATE KEY",), r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)-----END [A-Z ]*PRIVATE KEY-----"),
    ("jwt", ("eyJ",), r"\beyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]{10,}"),
    ("url-password", ("://",), r"(?<=://)[^\s/:@]+:[^\s/@]+(?=@)"),
    ("named-secret", ("password=", "api_key=", "secret="), r"(?:(?<=password=)|(?<=api_key=)|(?<=secret=))\S{6,}"),
)
_KINDS = [(f"[redacted:{kind}]", words, re.compile(pattern)) for kind, words, pattern in _SECRETS]


def redact(result: Any) -> dict[str, Any]:
    """Replace secrets in every text of a result."""
    new, found = _redacted(result)
    return {"verdict": "transform", "result": new} if found else {"verdict": "pass"}


def _redacted(value: Any) -> tuple[Any, int]:
    """The value without secrets, and how many there were."""
    if isinstance(value, str):
        return _redacted_text(value)
    if isinstance(value, dict):
        members = {name: _redacted(member) for name, member in value.items()}
        return {name: new for name, (new, _) in members.items()}, sum(found for _, found in members.values())
    if isinstance(value, list):
        items = [_redacted(item) for item in value]
        return [new for new, _ in items], sum(found for _, found in items)
    return value, 0


def _redacted_text(text: str) -> tuple[str, int]:
    found = 0
    for marker, words, pattern in _KINDS:
        if any(word in text for word in words):
            text, count = pattern.subn(marker, text)
            found += count
    return text, found


def guard_path(arguments: Any) -> dict[str, Any]:
    """Deny paths that do not lie below the roots."""
    for name in ("path", "source", "destination"):
        path = arguments.get(name)
        if path is None:
            continue
        plain = posixpath.normpath(path.replace("\\", "/")) if isinstance(path, str) and "\0" not in path else ""
        if not any(plain == root or plain.startswith(f"{root}/") for root in ROOTS):
            return {"verdict": "deny", "message": f"`{name}` is outside of what this agent may use"}
    return {"verdict": "pass"}


def let_pass(arguments: Any) -> dict[str, Any]:
    """Let everything pass: what is left is the way there and back."""
    return {"verdict": "pass"}


#: By the purpose of the interceptor that they stand for.
CHECKS: Mapping[str, Check] = {"pass": let_pass, "redact_secrets": redact, "path_guard": guard_path}
