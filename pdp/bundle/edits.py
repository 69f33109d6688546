"""Changes to a bundle's interceptors, as the files that differ afterwards.

`bundle.toml` is edited as text: what its author wrote stays as it is, but for the table of the binding in question and
the comments that end it.
A pushed module gets a name with its digest in it, so that the new one can lie beside the old one until the one step
that counts, the replacement of `bundle.toml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Table

from pdp.bundle.manifest import PATH as MANIFEST
from pdp.bundle.source import Source, source_file
from pdp.errors import BundleError, Problem

#: Content by path; None removes the file.
Edits = Mapping[str, bytes | None]

_PUSHED = "pushed"
_DIGITS = 12


def put_interceptor(source: Source, binding: Mapping[str, Any], module: bytes) -> Edits:
    """What differs once `binding` (a `[[interceptor]]` without `module` and `sha256`) is bound to `module`.

    A binding of the same name is replaced. Raises BundleError if `bundle.toml` cannot be edited.
    """
    document, bindings = _read(source)
    digest = source_file("", module).digest
    path = f"interceptors/{binding['name']}-{digest[:_DIGITS]}.wasm"
    place = _place(bindings, binding["name"])
    dropped = _pushed_module(bindings[place]) if place is not None else None
    table = _table({**binding, "module": path, "sha256": digest, "origin": _PUSHED})
    if place is None:
        bindings.append(table)
    else:
        bindings[place] = table
    edits: dict[str, bytes | None] = {path: module, **_written(document)}
    return {**edits, **_dropping(dropped, bindings, keep=path)}


def remove_interceptor(source: Source, name: str) -> Edits | None:
    """What differs once the binding called `name` is gone; None if there is none."""
    document, bindings = _read(source)
    place = _place(bindings, name)
    if place is None:
        return None
    dropped = _pushed_module(bindings[place])
    del bindings[place]
    if not len(bindings):
        del document["interceptor"]
    return {**_written(document), **_dropping(dropped, bindings)}


def apply(source: Source, edits: Edits) -> Mapping[str, bytes]:
    """The content of every file after these edits."""
    files = {path: file.content for path, file in source.files.items()}
    for path, content in edits.items():
        if content is None:
            files.pop(path, None)
        else:
            files[path] = content
    return files


def _read(source: Source) -> tuple[tomlkit.TOMLDocument, AoT]:
    file = source.files.get(MANIFEST)
    try:
        document = tomlkit.parse(file.content if file else b"")
        bindings = document.setdefault("interceptor", tomlkit.aot())
    except (TOMLKitError, ValueError, RecursionError) as error:
        raise BundleError([Problem(MANIFEST, 0, 0, f"cannot be edited: {str(error).lower()}")]) from error
    if not isinstance(bindings, AoT):
        message = "cannot be edited: write each binding as a table of its own, under `[[interceptor]]`"
        raise BundleError([Problem(MANIFEST, 0, 0, message)])
    return document, bindings


def _place(bindings: AoT, name: str) -> int | None:
    return next((place for place, table in enumerate(bindings) if table.get("name") == name), None)


def _pushed_module(table: Mapping[str, Any]) -> str | None:
    """The module of a pushed binding, which nobody but this service put there."""
    return str(table["module"]) if table.get("origin") == _PUSHED and "module" in table else None


def _dropping(path: str | None, bindings: AoT, keep: str = "") -> dict[str, None]:
    used = any(table.get("module") == path for table in bindings)
    return {} if path is None or path == keep or used else {path: None}


def _table(binding: Mapping[str, Any]) -> Table:
    table = tomlkit.table()
    for key, value in binding.items():
        table.add(key, tomlkit.item(value))
    table.add(tomlkit.nl())
    return table


def _written(document: tomlkit.TOMLDocument) -> dict[str, bytes]:
    return {MANIFEST: tomlkit.dumps(document).encode()}
