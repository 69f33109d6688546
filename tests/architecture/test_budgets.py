"""How long functions and modules may be, and what nothing may be called."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "pdp"

MODULE_LINES = 400
FUNCTION_LINES = 40
MOST_FUNCTIONS_LINES = 25
HANDLER_LINES = 12

# What is longer, by path and name, and a reason that a reader accepts.
EXCUSED: dict[str, str] = {}

FORBIDDEN_MODULES = {"common", "helper", "helpers", "lib", "misc", "tools", "util", "utils"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> list[Path]:
    """The modules that people write, below `pdp`."""
    generated = PACKAGE / "_gen"
    return sorted(path for path in PACKAGE.rglob("*.py") if generated not in path.parents)


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def functions(tree: ast.Module) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield node


def length(node: Function) -> int:
    """The lines of a function from `def` to its end, its docstring included."""
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def body_length(node: Function) -> int:
    """The lines of a function's body without its docstring."""
    first = node.body[1] if ast.get_docstring(node) is not None and len(node.body) > 1 else node.body[0]
    assert node.end_lineno is not None
    return node.end_lineno - first.lineno + 1


def named(path: Path, name: str) -> str:
    return f"{path.relative_to(ROOT).as_posix()}:{name}"


def overlong(path: Path, tree: ast.Module, budget: int) -> list[str]:
    """The functions beyond the budget that are not excused, with their lengths."""
    long = [node for node in functions(tree) if length(node) > budget and named(path, node.name) not in EXCUSED]
    return [f"{named(path, node.name)} has {length(node)} lines" for node in long]


@pytest.mark.parametrize("path", modules(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_module_keeps_its_budgets(path: Path) -> None:
    """A module has at most 400 lines and its functions at most 40 each, unless excused with a reason."""
    source = path.read_text("utf-8")
    excused = path.relative_to(ROOT).as_posix() in EXCUSED
    assert excused or len(source.splitlines()) <= MODULE_LINES
    assert overlong(path, parse(path), FUNCTION_LINES) == []


def test_most_functions_are_short() -> None:
    """Nine of ten functions have at most 25 lines."""
    lengths = [length(node) for path in modules() for node in functions(parse(path))]
    short = [lines for lines in lengths if lines <= MOST_FUNCTIONS_LINES]
    assert len(short) >= 0.9 * len(lengths), f"{len(lengths) - len(short)} of {len(lengths)} are longer"


def test_handlers_are_tables_of_contents() -> None:
    """An RPC handler (a method in CamelCase, as the protos name it) has at most 12 lines of body."""
    paths = [path for path in modules() if "servicers" in path.parts]
    handlers = [(path, node) for path in paths for node in functions(parse(path)) if node.name[:1].isupper()]
    assert [named(path, node.name) for path, node in handlers if body_length(node) > HANDLER_LINES] == []


def test_excuses_are_needed() -> None:
    """Nothing is excused that keeps its budget or is gone."""
    needed = {hit.split(" has ")[0] for path in modules() for hit in _over_any_budget(path)}
    assert set(EXCUSED) <= needed


def _over_any_budget(path: Path) -> Iterator[str]:
    for node in functions(parse(path)):
        if length(node) > FUNCTION_LINES:
            yield named(path, node.name)
    if len(path.read_text("utf-8").splitlines()) > MODULE_LINES:
        yield path.relative_to(ROOT).as_posix()


def test_names_say_what_is_inside() -> None:
    """No module is called after nothing in particular, and no class is a manager."""
    vague = [
        path.relative_to(ROOT).as_posix() for path in modules() if FORBIDDEN_MODULES & {path.stem, path.parent.name}
    ]
    classes = [
        named(path, node.name)
        for path in modules()
        for node in ast.walk(parse(path))
        if isinstance(node, ast.ClassDef) and node.name.endswith("Manager")
    ]
    assert vague + classes == []


def test_packages_hold_only_names() -> None:
    """An `__init__.py` imports and assigns; it computes nothing."""
    allowed = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    for path in modules():
        if path.name == "__init__.py":
            statements = parse(path).body
            rest = statements[1:] if ast.get_docstring(parse(path)) is not None else statements
            assert all(isinstance(node, allowed) for node in rest), path


def test_budgets_count_lines() -> None:
    """The budgets see a function that is one line too long, also inside a class and when it is async."""
    for header in ("def long() -> None:", "async def long() -> None:"):
        body = [header, *["    pass"] * FUNCTION_LINES]
        inside = ["class Holder:", *(f"    {line}" for line in body)]
        for lines in (body, inside):
            found = overlong(PACKAGE / "made_up.py", ast.parse("\n".join(lines)), FUNCTION_LINES)
            assert found == ["pdp/made_up.py:long has 41 lines"]
        assert overlong(PACKAGE / "made_up.py", ast.parse("\n".join(body[:-1])), FUNCTION_LINES) == []
