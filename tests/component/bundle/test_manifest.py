"""`bundle.toml`: where its keys are, and what it says by default."""

from __future__ import annotations

import pytest

from pdp.bundle.manifest import Manifest, find_key, parse_manifest

TEXT = """name = "x"
  description = "two
[context]

[context]
"mfa" = "Bool"
	risk = "Long"
[[interceptor]]
name = "one"
[interceptor.annotations]
risk = "Long"
[[ interceptor ]]
config = { name = "inner" }
name = "two"
phases = [
  "request",
]
[action_groups]
"a.b" = ["x"]
"""


@pytest.mark.parametrize(
    ("location", "place"),
    [
        (("name",), (1, 1)),
        (("description",), (2, 3)),
        (("context",), (3, 1)),
        (("context", "mfa"), (6, 1)),
        (("context", "mfa", "[key]"), (6, 1)),
        (("context", "risk"), (7, 2)),
        (("interceptor", 0, "name"), (9, 1)),
        (("interceptor", 0, "annotations", "risk"), (11, 1)),
        (("interceptor", 1, "name"), (14, 1)),
        (("interceptor", 1), (12, 1)),
        (("interceptor", 1, "phases", 0), (15, 1)),
        (("interceptor", 2), (8, 1)),
        (("action_groups", "a.b"), (19, 1)),
        (("absent",), (1, 1)),
        (("context", "absent"), (3, 1)),
        ((), (1, 1)),
    ],
)
def test_keys_have_a_place(location: tuple[str | int, ...], place: tuple[int, int]) -> None:
    """A key is found in its own table, also in one of several; what is not found has the place of what holds it."""
    assert find_key(TEXT, location) == place


def test_lines_are_lines_of_the_file() -> None:
    """Marks that only some programs take for line ends do not shift the lines."""
    manifest, problems = parse_manifest('name = "a\u2028b\x85"\n\u00a0'.encode()[:-2] + b"\nnope = 1\n")
    assert manifest.name == "a\u2028b\x85"
    assert [(problem.line, problem.column) for problem in problems] == [(3, 1)]


def test_an_empty_manifest_has_the_defaults() -> None:
    """Every part may be left out; an interceptor needs its name, module and phases, and is cautious otherwise."""
    assert parse_manifest(b"") == (Manifest(), [])
    text = b'[[interceptor]]\nname = "a"\nmodule = "interceptors/a.wasm"\nphases = ["request"]'
    manifest, problems = parse_manifest(text)
    [binding] = manifest.interceptor
    assert problems == []
    assert (binding.mode, binding.on_error, binding.may_transform, binding.sha256) == ("enforce", "deny", False, None)
    assert manifest.place("interceptor", 0, "module") == (3, 1)


@pytest.mark.parametrize(
    "text",
    [
        'description = "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z"',
        '[context]\na.b = "Long"\n' + "\n".join(f'x{number}.y = "Long"' for number in range(200)),
        "name = '" + "." * 199 + "'",
    ],
)
def test_dots_are_no_nesting(text: str) -> None:
    """Many dots in texts, and many dotted keys, are not taken for one key of many parts."""
    _, problems = parse_manifest(text.encode())
    assert not any("nests" in problem.message for problem in problems)


def test_a_mistake_in_one_part_leaves_the_others() -> None:
    """What is right is read beside what is wrong, so that the rest of the bundle does not seem wrong because of it."""
    text = (
        'nmae = "x"\n[action_groups]\nsafe = ["a/b"]\n[context]\nmfa = "Bool"\n[schema]\nprincipal_types = 1\n'
        '[[interceptor]]\nname = "one"\n'
    )
    manifest, problems = parse_manifest(text.encode())
    assert (manifest.action_groups, manifest.context) == ({"safe": ["a/b"]}, {"mfa": "Bool"})
    assert (manifest.schema_.principal_types, manifest.interceptor) == ([], [])
    assert {problem.line for problem in problems} == {1, 7, 8}
    assert manifest.place("action_groups", "safe") == (3, 1)


def test_a_mistake_in_one_part_hides_none_in_another() -> None:
    """An interceptor that is bound twice is told of although something else is wrong as well."""
    block = '[[interceptor]]\nname = "a"\nmodule = "interceptors/a.wasm"\nphases = ["request"]\n'
    _, problems = parse_manifest(f'nmae = "x"\n{block}{block}'.encode())
    assert [problem.line for problem in problems] == [1, 7]
    assert problems[1].message == "interceptor `a` is bound twice"


def test_any_number_of_mistakes_have_their_places() -> None:
    """Each unknown key, and each name that is bound again, is told where it stands."""
    unknown = "\n".join(f"k{number} = {number}" for number in range(2_000))
    _, problems = parse_manifest(unknown.encode())
    assert [problem.line for problem in problems] == list(range(1, 2_001))
    bound = '[[interceptor]]\nname = "a"\nmodule = "interceptors/a.wasm"\nphases = ["request"]\n'
    _, problems = parse_manifest((bound * 500).encode())
    assert [problem.line for problem in problems] == list(range(6, 2_000, 4))
