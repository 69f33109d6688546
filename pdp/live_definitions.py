"""What MCP servers say their tools are now, against what the operator pinned.

A server that changes a tool's description after it was reviewed can make an agent do what nobody agreed to. So a live
definition that differs from the pinned one hides the tool, and its calls are denied until the operator pins the new one
or the server goes back to the old. What callers reported is kept here, across reloads, and is lost when the service
stops.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from pdp.cedar.cache import BoundedCache
from pdp.cedar.model import Denial, DenialCode
from pdp.cedar.policy_model import CallableTool
from pdp.cedar.strict_json import JsonError, JsonLimits, parse_object
from pdp.cedar.tool_schema import definition_digest

TOOL_CHANGED = Denial(DenialCode.TOOL_CHANGED, "this tool is not the one that was approved")

#: As generous as for pinned manifests: a definition that is too much for these is not the pinned one.
_LIMITS = JsonLimits(max_bytes=4 * 1024 * 1024, max_depth=200, max_nodes=200_000)
_DIGESTS_KEPT = 20_000
#: Stands for what is no definition at all; no digest is equal to it.
_UNREADABLE = "unreadable"

Tools = Mapping[tuple[str, str], CallableTool]


#: Digests of tools that differed when they were last reported, by server and name.
Changed = dict[tuple[str, str], str]


class KeptTools(Protocol):
    """Where it is kept which tools changed."""

    def version(self) -> int:
        """Another number than before means that there is something to read."""

    def read(self) -> Changed:
        """What is known."""

    def change(self, found: Mapping[tuple[str, str], str | None]) -> Changed:
        """Note digests, None for what is as pinned again; gives what is known then."""


class _OwnTools:
    """Kept in this process, for itself."""

    def __init__(self) -> None:
        self._known: Changed = {}
        self._lock = threading.Lock()

    def version(self) -> int:
        return 0

    def read(self) -> Changed:
        return self._known

    def change(self, found: Mapping[tuple[str, str], str | None]) -> Changed:
        with self._lock:
            known = {**self._known, **{key: digest for key, digest in found.items() if digest is not None}}
            self._known = {key: digest for key, digest in known.items() if found.get(key, "") is not None}
            return self._known


class LiveDefinitions:
    """What was last reported of each pinned tool.

    Safe to share between threads; between processes, if what keeps it is. Methods raise UnavailableError where it
    cannot be kept, or read.
    """

    def __init__(self, kept: KeptTools | None = None) -> None:
        self._kept = kept if kept is not None else _OwnTools()
        self._version = self._kept.version()
        self._changed: Changed = self._kept.read()
        self._digests: BoundedCache[bytes, str] = BoundedCache(_DIGESTS_KEPT)

    def report(self, tools: Tools, server: str, listed: Iterable[tuple[str, bytes]]) -> None:
        """Note how a server defines its tools now: names and JSON texts, each one object.

        A name that is listed twice counts as changed if one of its definitions is another than the pinned one: which of
        them an agent is shown is not known here. Tools that nobody pinned are not noted.
        """
        found: dict[str, str] = {}
        for name, definition in listed:
            tool = tools.get((server, name))
            if tool is not None:
                digest = self._digest(name, definition)
                if digest != tool.digest or name not in found:
                    found[name] = digest
        self._note({(server, name): digest for name, digest in found.items()}, tools)

    def _note(self, found: Mapping[tuple[str, str], str], tools: Tools) -> None:
        known = self._known()
        news = {key: None if digest == tools[key].digest else digest for key, digest in found.items()}
        news = {key: digest for key, digest in news.items() if known.get(key) != digest}
        if news:
            self._changed = self._kept.change(news)

    def _known(self) -> Changed:
        version = self._kept.version()
        if version != self._version:
            self._changed = self._kept.read()
            self._version = version
        return self._changed

    def check(self, tools: Tools, server: str, listed: Sequence[tuple[str, bytes | None]]) -> dict[str, Denial]:
        """Report a list, None where no definition came, and give the denials of those that are not as pinned."""
        self.report(tools, server, [(name, text) for name, text in listed if text is not None])
        if not self._known():
            return {}
        found = ((name, self.denial(tools, server, name)) for name, _ in listed)
        return {name: denial for name, denial in found if denial is not None}

    def denial(self, tools: Tools, server: str, name: str) -> Denial | None:
        """The denial of every call to this tool, if it was last reported as another one than is pinned."""
        reported = self._known().get((server, name))
        if reported is None:
            return None
        tool = tools.get((server, name))
        return TOOL_CHANGED if tool is not None and reported != tool.digest else None

    def changed(self, tools: Tools) -> list[tuple[str, str]]:
        """The pinned tools that were last reported as others, in order."""
        return sorted(key for key in self._known().copy() if self.denial(tools, *key) is not None)

    def _digest(self, name: str, definition: bytes) -> str:
        key = hashlib.sha256(name.encode() + b"\0" + definition).digest()
        digest = self._digests.get(key)
        if digest is None:
            digest = _read_digest(name, definition)
            self._digests.put(key, digest)
        return digest


def _read_digest(name: str, definition: bytes) -> str:
    try:
        document = parse_object(definition, _LIMITS)
        return definition_digest(document) if document.get("name") == name else _UNREADABLE
    except JsonError:
        return _UNREADABLE
