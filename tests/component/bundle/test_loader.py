"""Bundles to snapshots."""

from __future__ import annotations

import hashlib
import json

import pytest

from pdp.bundle.loader import Loader
from pdp.bundle.snapshot import BundleCounts
from pdp.cedar.model import ActionQuery, DenialCode, EntityUid, ToolQuery
from pdp.cedar.options import AuthorizeOptions
from pdp.errors import BundleError
from tests.bundles import PERMIT_ALL, Files, entity, load, manifest, memory_source, tool
from tests.modules import answering

AGENT = EntityUid("Agent", "a")
SCHEMA = "entity Agent; entity Server;"


def _loader() -> Loader:
    return Loader(AuthorizeOptions())


def _fails(loader: Loader, files: Files) -> None:
    with pytest.raises(BundleError):
        loader.load(memory_source(files))


# --- what is in a snapshot -------------------------------------------------------------------------------------------


def test_a_snapshot_knows_what_it_holds() -> None:
    """Name, origin, revision and counts are those of the bundle; enforced policies and shadow policies count apart."""
    template = '@id("t") permit(principal == ?principal, action, resource);'
    link = {"template_id": "t", "link_id": "l", "args": {"?principal": 'Agent::"a"'}}
    binding = '[[interceptor]]\nname = "i"\nmodule = "interceptors/i.wasm"\nphases = ["request"]'
    files: Files = {
        "bundle.toml": f'name = "mine"\n{binding}',
        "policies/a.cedar": f'{PERMIT_ALL}{PERMIT_ALL}@enforcement("shadow") {PERMIT_ALL}{template}',
        "policies/a.links.json": json.dumps([link]),
        "entities/a.json": json.dumps([entity("Agent", "a"), entity("Agent", "b")]),
        "tools/s.json": manifest(tool("t"), tool("u")),
        "tools/z.json": manifest(tool("t")),
        "interceptors/i.wasm": answering(),
        "tests/x": "not loaded",
    }
    source = memory_source(files, "somewhere")
    snapshot = _loader().load(source)
    assert (snapshot.name, snapshot.origin, snapshot.revision) == ("mine", "somewhere", source.revision)
    assert snapshot.counts == BundleCounts(
        policies=2, templates=1, template_links=1, shadow_policies=1, entities=2, servers=2, tools=3, interceptors=1
    )
    assert snapshot.warnings == ()


@pytest.mark.parametrize(
    "kind", ["bundle.toml", "policies/a.cedar", "schema.cedarschema", "entities/a.json", "tools/s.json"]
)
def test_every_part_may_be_missing(kind: str) -> None:
    """A bundle of any single file loads, and denies what nothing permits."""
    texts = {"schema.cedarschema": SCHEMA, "entities/a.json": "[]", "tools/s.json": manifest(tool("t"))}
    snapshot = load({kind: texts.get(kind, "")})
    denial = snapshot.authorizer.authorize(ToolQuery(AGENT, "s", "t")).denial
    assert denial is not None
    expected = DenialCode.NO_MATCHING_POLICY if kind.startswith("tools") else DenialCode.UNKNOWN_TOOL
    assert denial.code is expected


@pytest.mark.parametrize("schema", [{}, {"schema.cedarschema": SCHEMA}], ids=["free", "typed"])
def test_a_tools_groups_come_from_its_annotations(schema: dict[str, str]) -> None:
    """Server, `call_tool`, the hints and the operator's own groups are groups of a tool's action, others are not."""
    groups = ["s", "call_tool", "read_only", "destructive", "idempotent", "open_world", "mine", "yours"]
    files = {
        "bundle.toml": '[action_groups]\nmine = ["s/r*"]\nyours = ["*/other"]',
        "policies/a.cedar": "\n".join(
            f'@id("{name}") permit(principal, action in Action::"{name}", resource);' for name in groups
        ),
        "tools/s.json": manifest(tool("read", annotations={"readOnlyHint": True}), tool("other")),
        **schema,
    }
    authorizer = load(files).authorizer
    answer = authorizer.authorize(ToolQuery(AGENT, "s", "read"))
    assert [policy.policy_id for policy in answer.determining] == ["call_tool", "mine", "open_world", "read_only", "s"]
    other = authorizer.authorize(ToolQuery(AGENT, "s", "other"))
    assert [policy.policy_id for policy in other.determining] == [
        "call_tool",
        "destructive",
        "open_world",
        "s",
        "yours",
    ]


def test_links_decide() -> None:
    """A linked template decides under the link's id, for the entities of its slots alone."""
    links = [
        {"template_id": "t", "link_id": "text", "args": {"?principal": 'Agent::"a"'}},
        {"template_id": "t", "link_id": "object", "args": {"?principal": {"type": "Agent", "id": "b"}}},
    ]
    files = {
        "policies/a.cedar": '@id("t") permit(principal == ?principal, action, resource);',
        "policies/deep/a.links.json": json.dumps(links),
    }
    authorizer = load(files).authorizer
    query = ActionQuery(AGENT, EntityUid("Action", "x"), AGENT)
    for name, expected in (("a", ["text"]), ("b", ["object"]), ("c", [])):
        answer = authorizer.authorize(query._replace(principal=EntityUid("Agent", name)))
        assert [policy.policy_id for policy in answer.determining] == expected


def test_warnings_stop_nothing() -> None:
    """An action group that matches nothing is told, and the bundle loads."""
    snapshot = load({"bundle.toml": '[action_groups]\nmine = ["nope/*"]', "policies/a.cedar": PERMIT_ALL})
    assert [str(warning) for warning in snapshot.warnings] == [
        "bundle.toml:2:1: warning: `action_groups.mine`: `nope/*` matches no pinned tool"
    ]


def test_a_module_may_be_pinned() -> None:
    """A binding whose digest is that of the module loads."""
    digest = hashlib.sha256(answering()).hexdigest()
    binding = f'[[interceptor]]\nname = "a"\nmodule = "interceptors/a.wasm"\nphases = ["request"]\nsha256 = "{digest}"'
    assert load({"bundle.toml": binding, "interceptors/a.wasm": answering()}).counts.interceptors == 1


def test_hostile_names_load() -> None:
    """Names with quotes, blanks, marks and of any length are names like others."""
    name = 'say "hi"\\ \u2028 é \U0001f600'
    policy = json.dumps(name, ensure_ascii=False).replace("\u2028", "\\u{2028}")
    files = {
        "policies/a.cedar": f"@id({policy}) permit(principal == Agent::{policy}, action, resource);",
        "entities/a.json": json.dumps([entity("Agent", name), entity("Agent", "x" * 100_000)]),
        f"tools/{name.replace('/', '')}.json": manifest(tool(name)),
        "schema.cedarschema": SCHEMA,
    }
    answer = load(files).authorizer.authorize(ToolQuery(EntityUid("Agent", name), name, name))
    assert [policy.policy_id for policy in answer.determining] == [name]


# --- what a schema says ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "manifest_text", "principals"),
    [
        ("entity Agent; entity User; entity Group;", "", {"Agent", "User"}),
        ("entity Robot; entity Group; entity Server;", "", {"Robot", "Group"}),
        ("namespace Acme { entity Agent, Other; entity Tool; }", "", {"Acme::Agent"}),
        ("namespace A::B { entity Robot = { entity: String }; }", "", {"A::B::Robot"}),
        ('entity Agent enum ["a"]; entity Robot in [Agent];', "", {"Robot"}),
        ("entity Agent; entity Robot;", '[schema]\nprincipal_types = ["Robot"]', {"Robot"}),
        ('@doc("entity Fake;") entity Agent; // entity Fake;', "", {"Agent"}),
    ],
)
def test_who_may_be_a_subject(schema: str, manifest_text: str, principals: set[str]) -> None:
    """Agents and users may call tools; without such types, every type but servers; or what the bundle says."""
    files = {"schema.cedarschema": schema, "bundle.toml": manifest_text, "tools/s.json": manifest(tool("t"))}
    assert load(files).authorizer.model.principal_types == frozenset(principals)


def test_declared_context_is_typed_for_policies() -> None:
    """A fact declared in bundle.toml can be read by policies, with its type."""
    files = {
        "bundle.toml": '[context]\nmfa = "Bool"\nfrom = "ipaddr"',
        "schema.cedarschema": SCHEMA,
        "policies/a.cedar": 'permit(principal, action in Action::"call_tool", resource) when '
        '{ context has mfa && context.mfa && context has from && context.from.isInRange(ip("10.0.0.0/8")) };',
        "tools/s.json": manifest(tool("t")),
    }
    authorizer = load(files).authorizer
    query = ToolQuery(AGENT, "s", "t")
    assert not authorizer.authorize(query).allowed
    assert authorizer.authorize(query._replace(context=b'{"mfa":true,"from":"10.1.2.3"}')).allowed
    assert not authorizer.authorize(query._replace(context=b'{"mfa":true,"from":"11.1.2.3"}')).allowed


# --- reading again ---------------------------------------------------------------------------------------------------


def _many(changed: str = "") -> dict[str, str]:
    files = {f"policies/p{number:03}.cedar": f"{PERMIT_ALL} // {number}" for number in range(200)}
    files |= {"schema.cedarschema": SCHEMA, "tools/s.json": manifest(tool("t"))}
    files |= {"entities/a.json": json.dumps([entity("Agent", "a")]), "policies/l.links.json": "[]"}
    if changed:
        files[changed] = files[changed].replace("permit", "forbid") + " "
    return files


@pytest.mark.parametrize("changed", ["policies/p123.cedar", "entities/a.json", "policies/l.links.json"])
def test_only_what_changed_is_parsed_again(changed: str) -> None:
    """Of 200 policy files the one that was edited is parsed, and no other; nothing at all where nothing changed."""
    loader = _loader()
    assert len(loader.load(memory_source(_many())).parsed) == 204
    assert loader.load(memory_source(_many(changed))).parsed == (changed,)
    assert loader.load(memory_source(_many(changed))).parsed == ()
    assert loader.load(memory_source(_many())).parsed == (changed,)


@pytest.mark.parametrize(
    ("path", "broken"),
    [
        ("policies/p123.cedar", "nonsense;"),
        ("entities/a.json", "[1]"),
        ("tools/s.json", "{}"),
        ("bundle.toml", "="),
        ("schema.cedarschema", "entity"),
    ],
)
def test_a_mistake_costs_nothing_later(path: str, broken: str) -> None:
    """After a mistake was taken back nothing is parsed again, whichever part of the bundle it was in."""
    loader = _loader()
    loader.load(memory_source(_many()))
    for _ in range(3):
        _fails(loader, {**_many(), path: broken})
    assert loader.load(memory_source(_many())).parsed == ()


def test_what_is_kept_does_not_grow() -> None:
    """However often a bundle changes, well or badly, the loader keeps the parses of two versions at most."""
    loader = _loader()
    loader.load(memory_source(_many()))
    size = len(loader._kept)
    for number in range(30):
        _fails(loader, {**_many(), "policies/p001.cedar": f"nonsense{number};"})
        assert len(loader._kept) <= size + 10
    for number in range(10):
        loader.load(memory_source({**_many(), "policies/p001.cedar": f"{PERMIT_ALL} // new {number}"}))
        assert len(loader._kept) == len(loader._good) == size


@pytest.mark.parametrize("schema", [{}, {"schema.cedarschema": SCHEMA}], ids=["free", "typed"])
def test_renaming_a_server_renames_its_actions(schema: dict[str, str]) -> None:
    """A manifest that is only renamed has new actions in the right groups: a forbid of a group still forbids."""
    files = {
        "policies/a.cedar": f'{PERMIT_ALL}\n@id("no") forbid(principal, action in Action::"destructive", resource);',
        "tools/old.json": manifest(tool("t")),
        **schema,
    }
    loader = _loader()
    loader.load(memory_source(files))
    renamed = dict(files)
    renamed["tools/new.json"] = renamed.pop("tools/old.json")
    authorizer = loader.load(memory_source(renamed)).authorizer
    answer = authorizer.authorize(ToolQuery(AGENT, "new", "t"))
    assert [policy.policy_id for policy in answer.determining] == ["no"]
    denial = authorizer.authorize(ToolQuery(AGENT, "old", "t")).denial
    assert denial is not None
    assert denial.code is DenialCode.UNKNOWN_TOOL


def test_a_reread_bundle_is_as_one_read_afresh() -> None:
    """After any sequence of changes a loader gives what a new loader would give, problems included."""
    schema2 = "entity Agent { age?: Long }; entity Server;"
    versions: list[Files] = [
        _many(),
        {**_many(), "schema.cedarschema": schema2},
        {**_many(), "schema.cedarschema": "entity"},
        {**_many(), "policies/p000.cedar": f"{PERMIT_ALL[:-1]} when {{ principal.age == 1 }};"},
        {**_many(), "tools/s.json": manifest(tool("u"))},
        {**_many(), "bundle.toml": '[context]\nmfa = "Bool"'},
        {**_many(), "bundle.toml": '[context]\nmfa = "Long"'},
        {**_many(), "entities/a.json": json.dumps([entity("Agent", "a", age=1)]), "schema.cedarschema": schema2},
        {**_many(), "entities/a.json": json.dumps([entity("Agent", "a", age=1)])},
        {path: text for path, text in _many().items() if path != "schema.cedarschema"},
    ]
    loader = _loader()

    def outcome(with_loader: Loader, files: Files) -> object:
        try:
            snapshot = with_loader.load(memory_source(files))
        except BundleError as error:
            return error.problems
        return snapshot.schema_text, snapshot.counts, snapshot.revision, snapshot.warnings

    for files in [*versions, *reversed(versions), *versions[::3]]:
        assert outcome(loader, files) == outcome(_loader(), files)
