"""Bundles that answer differently, and an oracle that knows what each must answer.

A bundle here has a policy file and a module, which change one without the other: each of the combinations is a revision
of its own, and the oracle knows them all, so a revision that no combination has is a mixture.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import cycle, product
from pathlib import Path
from typing import Any

from tests.bundles import Files, content, manifest, memory_source, tool
from tests.modules import answering, binding, transform

SERVER = "srv"
TOOLS = ("a", "b", "c", "shift")
#: The numbers that arguments carry: those below are asked again and again, those above once.
REPEATED = 16

POLICY_FILE, MODULE_FILE = "policies/open.cedar", "interceptors/shift.wasm"
#: What never loads.
BROKEN_POLICY = 'permit (principal, action == Action::"srv/a", resource) when { true'


@dataclass(frozen=True)
class Rules:
    """What a revision permits: these tools, with a number below the limit. Its module makes the number `shifted`."""

    tools: tuple[str, ...]
    limit: int
    shifted: int

    def allows(self, name: str, number: int) -> bool:
        """What the policies say about a call as they see it."""
        return name in self.tools and number < self.limit

    def seen(self, name: str, number: int) -> int:
        """The number in a call once its interceptors ran."""
        return self.shifted if name == "shift" else number


_OPEN = ((("a", "shift"), 8), (("b", "shift"), 100_000), (("a", "b", "c"), 1_000_000_000), (("c",), 0))
_SHIFTED = (3, 500_000)


def _policy(tools: tuple[str, ...], limit: int) -> str:
    actions = ", ".join(f'Action::"{SERVER}/{name}"' for name in tools)
    return f'@id("open") permit (principal, action in [{actions}], resource) when {{ context.input.n < {limit} }};\n'


def policies() -> list[str]:
    """The policy files."""
    return [_policy(*rules) for rules in _OPEN]


def modules() -> list[bytes]:
    """The modules."""
    return [answering(transform(arguments={"n": number})) for number in _SHIFTED]


def files(policy: int = 0, module: int = 0) -> Files:
    """One of the bundles."""
    bound = binding("shift", tools=[f"{SERVER}/shift"], may_transform=True, timeout_ms=10_000)
    return {
        "bundle.toml": f'name = "faults"\n{bound}',
        POLICY_FILE: policies()[policy],
        MODULE_FILE: modules()[module],
        f"tools/{SERVER}.json": manifest(*(tool(name, {"n": {"type": "integer"}}) for name in TOOLS)),
    }


def oracle() -> dict[str, Rules]:
    """What each revision must answer."""
    found = {}
    for policy, module in product(range(len(_OPEN)), range(len(_SHIFTED))):
        tools, limit = _OPEN[policy]
        found[load_revision(files(policy, module))] = Rules(tools, limit, _SHIFTED[module])
    return found


def load_revision(bundle: Files) -> str:
    """The revision of a bundle, which need not load."""
    return memory_source(bundle).revision


def written(table: Mapping[str, Rules]) -> dict[str, Any]:
    """The oracle's table as a JSON document."""
    return {revision: asdict(rules) for revision, rules in table.items()}


def read(document: Mapping[str, Any]) -> dict[str, Rules]:
    """What `written` gave."""
    return {
        revision: Rules(tuple(rules["tools"]), rules["limit"], rules["shifted"]) for revision, rules in document.items()
    }


def put(root: Path, path: str, value: str | bytes) -> None:
    """Replace one file of a bundle at once: nobody sees half of it."""
    new = root.parent / f".{Path(path).name}.new"
    new.write_bytes(content(value))
    new.replace(root / path)


def changes() -> Iterator[tuple[str, str | bytes]]:
    """Endless changes, one file each: other policies, other modules, and now and then what does not load."""
    policy, module = cycle(policies()), cycle(modules())
    for step in cycle(range(7)):
        if step == 3:
            yield MODULE_FILE, next(module)
        elif step == 5:
            yield POLICY_FILE, BROKEN_POLICY
        else:
            yield POLICY_FILE, next(policy)


def arguments(number: int) -> bytes:
    """A tool call's arguments."""
    return json.dumps({"n": number}).encode()
