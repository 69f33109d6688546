"""A bundle's bytes to a snapshot: everything or nothing, every problem reported, unchanged files not parsed again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from pdp.bundle.entity_files import find_entities, parse_entities
from pdp.bundle.interceptor_modules import GuestLog, load_interceptors
from pdp.bundle.manifest import PATH as MANIFEST
from pdp.bundle.manifest import Manifest, parse_manifest
from pdp.bundle.policy_links import link_problems, link_rule, linked_text, parse_links
from pdp.bundle.schema_file import PATH as SCHEMA
from pdp.bundle.schema_file import RESOURCE_TYPE, BundleSchema, build_schema
from pdp.bundle.snapshot import BundleCounts, Snapshot
from pdp.bundle.source import Source, SourceFile
from pdp.bundle.tool_files import parse_tools, with_action_groups
from pdp.bundle.validation import Validator
from pdp.cedar.arguments import FactType, parse_type
from pdp.cedar.authorize import Authorizer
from pdp.cedar.caller_context import CallerContext
from pdp.cedar.entities import EntityStore
from pdp.cedar.filter_tools import ToolFilter
from pdp.cedar.index import Rule
from pdp.cedar.kept_entities import Kept, Shared
from pdp.cedar.model import EntityUid
from pdp.cedar.options import AuthorizeOptions
from pdp.cedar.policies import Policy, parse_policies
from pdp.cedar.policy_model import CallableTool, PolicyModel
from pdp.cedar.tool_schema import Tool
from pdp.errors import BundleError, Problem
from pdp.sandbox.chain import Chain, Interceptor
from pdp.sandbox.model import SandboxOptions
from pdp.sandbox.sandbox import Loaded, Sandbox, Terms

_T = TypeVar("_T")
_P = ParamSpec("_P")


@dataclass(slots=True)
class _Parses:
    """What has been parsed, by kind, path, digest and whatever else the result depends on."""

    kept: dict[tuple[str, ...], Any] = field(default_factory=dict)
    used: dict[tuple[str, ...], Any] = field(default_factory=dict)
    fresh: set[str] = field(default_factory=set)

    def get(self, file: SourceFile, extra: str, parse: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """What `parse` makes of its arguments, which depend on nothing but `file` and `extra`."""
        key = (parse.__qualname__, file.path, file.digest, extra)
        if key not in self.kept:
            self.kept[key] = parse(*args, **kwargs)
            self.fresh.add(file.path)
        self.used[key] = self.kept[key]
        found: _T = self.kept[key]
        return found


class Loader:
    """Loads one bundle again and again, parsing only what changed since the last load. Not for use by two threads."""

    def __init__(
        self,
        options: AuthorizeOptions,
        sandbox: Sandbox | None = None,
        guest_log: GuestLog = lambda name, level, text: None,
    ) -> None:
        self._options = options
        self._sandbox = sandbox or Sandbox(SandboxOptions())
        self._guest_log = guest_log
        self._kept: dict[tuple[str, ...], Any] = {}
        self._good: dict[tuple[str, ...], Any] = {}

    def load(self, source: Source) -> Snapshot:
        """A snapshot of `source`. Raises BundleError with everything that is wrong with it."""
        parses = _Parses(self._kept)
        build = _Build(source, parses, self._sandbox, self._guest_log)
        build.run()
        if any(problem.severity == "error" for problem in build.problems):
            # What a broken bundle parsed stays, beside what the last good one did: the next attempt is like either.
            self._kept = {**self._good, **parses.used}
            raise BundleError(sorted(build.problems))
        self._kept = self._good = parses.used
        return build.snapshot(self._options, tuple(sorted(parses.fresh)))


class _Build:
    """One load in progress: the parts of the bundle as they become known, and every problem met on the way."""

    def __init__(self, source: Source, parses: _Parses, sandbox: Sandbox, guest_log: GuestLog) -> None:
        self._source = source
        self._parses = parses
        self._sandbox = sandbox
        self._guest_log = guest_log
        self.problems: list[Problem] = list(source.warnings)
        self._manifest = Manifest()
        self._schema: BundleSchema | None = None
        self._validator: Validator | None = None
        self._tools: list[Tool] = []
        self._policies: list[Policy] = []
        self._rules: list[Rule] = []
        self._entities = EntityStore({})
        self._entity_count = 0
        self._interceptors: tuple[Interceptor, ...] = ()

    def run(self) -> None:
        """Read the parts in the order in which they depend on each other."""
        self._read_manifest()
        self._read_tools()
        self._read_schema()
        self._read_policies()
        self._read_links()
        self._read_entities()
        self._read_interceptors()

    def snapshot(self, options: AuthorizeOptions, parsed: tuple[str, ...]) -> Snapshot:
        """The finished snapshot; only to be asked for where there is no error."""
        schema = self._schema
        context_types = {name: parse_type(text) for name, text in self._manifest.context.items()}
        model = PolicyModel(
            rules=self._rules,
            entities=self._entities,
            schema=schema.schema if schema else None,
            tools={(tool.server, tool.name): _callable(tool) for tool in self._tools},
            principal_types=frozenset(schema.principal_types) if schema else None,
            on_behalf_of_type=schema.on_behalf_of if schema else None,
            context=CallerContext(context_types, closed=schema is not None),
        )
        authorizer = Authorizer(model, options)
        links = sum(1 for rule in self._rules if rule.slots)
        counts = BundleCounts(
            policies=sum(1 for rule in self._rules if not rule.slots and not rule.policy.shadow),
            templates=sum(1 for policy in self._policies if policy.slots),
            template_links=links,
            shadow_policies=sum(1 for rule in self._rules if rule.policy.shadow),
            entities=self._entity_count,
            servers=len({tool.server for tool in self._tools}),
            tools=len(self._tools),
            interceptors=len(self._interceptors),
        )
        return Snapshot(
            revision=self._source.revision,
            name=self._manifest.name,
            origin=self._source.origin,
            counts=counts,
            warnings=tuple(sorted(self.problems)),
            schema_text=schema.text if schema else "",
            authorizer=authorizer,
            tool_filter=ToolFilter(model, authorizer.slices),
            chain=Chain(self._interceptors, {(tool.server, tool.name): tool.input.convert for tool in self._tools}),
            in_shadow=self._manifest.enforcement == "shadow",
            parsed=parsed,
        )

    def _files(self, directory: str, suffix: str) -> Iterable[SourceFile]:
        for path, file in self._source.files.items():
            if path.startswith(directory) and path.endswith(suffix):
                yield file

    def _text(self, file: SourceFile) -> str | None:
        try:
            return file.content.decode()
        except UnicodeDecodeError as error:
            self.problems.append(Problem(file.path, 0, 0, f"not UTF-8 at byte {error.start}"))
            return None

    def _read_manifest(self) -> None:
        file = self._source.files.get(MANIFEST)
        if file is None:
            return
        self._manifest, problems = parse_manifest(file.content)
        self.problems.extend(problems)
        if self._manifest.enforcement == "shadow":
            message = "`enforcement` is `shadow`: every call is allowed, and decisions are only reported"
            self.problems.append(Problem(MANIFEST, *self._manifest.place("enforcement"), message, "warning"))

    def _read_tools(self) -> None:
        for file in self._files("tools/", ".json"):
            if self._text(file) is None:
                continue
            parsed = self._parses.get(file, "", parse_tools, file)
            self._tools.extend(parsed.tools)
            self.problems.extend(parsed.problems)
        self._tools, problems = with_action_groups(self._tools, self._manifest)
        self.problems.extend(problems)

    def _read_schema(self) -> None:
        file = self._source.files.get(SCHEMA)
        text = self._text(file) if file else None
        if file is None or text is None:
            return
        # The schema depends on the tools and the manifest too; compiling it takes a second for a thousand tools.
        # A server is called what its file is called, so names count as well.
        files = self._source.files.items()
        others = [f"{path}={other.digest}" for path, other in files if path.startswith(("tools/", MANIFEST))]
        self._schema, problems = self._parses.get(
            file, ",".join(others), build_schema, text, self._tools, self._manifest
        )
        self._validator = Validator(self._schema, self._tools) if self._schema else None
        self.problems.extend(problems)

    def _read_policies(self) -> None:
        for file in self._files("policies/", ".cedar"):
            text = self._text(file)
            if text is None:
                continue
            parsed = self._parses.get(file, "", parse_policies, file.path, text)
            self._policies.extend(parsed.policies)
            self.problems.extend(parsed.problems)
            if self._schema is not None and self._validator is not None:
                self.problems.extend(self._parses.get(file, self._schema.digest, self._validator.check_file, parsed))
        self._rules = [Rule(policy.id, policy) for policy in self._policies if not policy.slots]
        seen: dict[str, Policy] = {}
        for policy in self._policies:
            first = seen.setdefault(policy.id, policy)
            if first is not policy:
                message = f"policy id `{policy.id}` is taken by {first.path}:{first.line}"
                self.problems.append(Problem(policy.path, policy.line, policy.column, message))

    def _read_links(self) -> None:
        templates = {policy.id: policy for policy in self._policies if policy.slots}
        taken = {policy.id for policy in self._policies}
        for file in self._files("policies/", ".links.json"):
            text = self._text(file)
            if text is None:
                continue
            parsed = self._parses.get(file, "", parse_links, file.path, file.content)
            self.problems.extend(parsed.problems)
            offences: dict[int, str] = {}
            linked: dict[int, Rule] = {}
            for link in parsed.links:
                try:
                    linked[link.number] = link_rule(link, templates)
                except ValueError as error:
                    offences[link.number] = f"link `{link.link_id}`: {error}"
                if link.link_id in taken:
                    offences[link.number] = f"link `{link.link_id}`: policy id `{link.link_id}` is taken"
                taken.add(link.link_id)
            self._rules.extend(linked.values())
            if self._validator is not None:
                offences = {**_link_offences(linked, self._validator), **offences}
            self.problems.extend(link_problems(file.path, text, offences))

    def _read_entities(self) -> None:
        schema = self._schema
        entities = _actions(schema, self._tools)
        parents: set[EntityUid] = set()
        shared = Shared()
        for file in self._files("entities/", ".json"):
            text = self._text(file)
            if text is None:
                continue
            cedar_schema = schema.schema if schema else None
            digest = schema.digest if schema else ""
            parsed = self._parses.get(file, digest, parse_entities, file.path, text, cedar_schema, shared)
            self.problems.extend(parsed.problems)
            parents |= parsed.parents
            self._entity_count += sum(map(len, parsed.entities.values()))
            self.problems.extend(_merge(entities, parsed.entities, file, text))
        self._entities = EntityStore(entities)
        self.problems.extend(self._cycle_problems(self._entities.find_cycles(parents)))

    def _cycle_problems(self, cycles: Sequence[EntityUid]) -> Iterable[Problem]:
        for file in self._files("entities/", ".json") if cycles else ():
            places = find_entities(file.content.decode("utf-8", "replace"))
            for uid in cycles:
                if uid in places:
                    yield Problem(file.path, *places[uid], f"`{uid}` is its own ancestor")

    def _read_interceptors(self) -> None:
        loaded = load_interceptors(
            self._source.files, self._manifest, self._tools, self._sandbox, self._load_module, self._guest_log
        )
        self._interceptors = loaded.interceptors
        self.problems.extend(loaded.problems)

    def _load_module(
        self, file: SourceFile, terms: Terms, declared: Mapping[str, FactType], log: Callable[[int, str], None]
    ) -> Loaded:
        types = sorted((name, type_.cedar_type()) for name, type_ in declared.items())
        # A refusal is raised and so not kept: a busy machine may be its reason.
        return self._parses.get(file, repr((terms, types)), self._sandbox.load, file.content, terms, declared, log)


def _callable(tool: Tool) -> CallableTool:
    return CallableTool(
        EntityUid("Action", tool.action_id), EntityUid(RESOURCE_TYPE, tool.server), tool.input, tool.digest
    )


def _link_offences(linked: Mapping[int, Rule], validator: Validator) -> dict[int, str]:
    """What the validator finds in linked policies, by the number of the link.

    What it finds depends on the types of the slots' entities, so one link stands for all of a template and types.
    """
    chosen: dict[tuple[object, ...], tuple[int, Rule]] = {}
    for number, rule in linked.items():
        kinds = tuple((slot, uid.type) for slot, uid in rule.slots.items())
        chosen.setdefault((rule.policy.id, kinds), (number, rule))
    asked = list(chosen.values())
    found = validator.check([(rule.policy, linked_text(rule)) for _, rule in asked])
    offences: dict[int, str] = {}
    for place, message in found:
        number, rule = asked[place]
        offences.setdefault(number, f"link `{rule.id}`: {message}")
    return offences


def _actions(schema: BundleSchema | None, tools: Sequence[Tool]) -> dict[str, dict[str, Kept]]:
    """The action entities by type and id: from the schema where there is one, otherwise from the tools."""
    if schema is not None:
        forms = json.loads(schema.actions)
    else:
        forms = [
            {
                "uid": {"type": "Action", "id": tool.action_id},
                "attrs": {},
                "parents": [{"type": "Action", "id": group} for group in tool.groups],
            }
            for tool in tools
        ]
    actions: dict[str, dict[str, Kept]] = {}
    for form in forms:
        actions.setdefault(form["uid"]["type"], {})[form["uid"]["id"]] = json.dumps(form)
    return actions


def _merge(
    entities: dict[str, dict[str, Kept]], added: Mapping[str, Mapping[str, Kept]], file: SourceFile, text: str
) -> list[Problem]:
    """Add one file's entities to `entities`; a problem for each that is there already."""
    again: list[EntityUid] = []
    for kind, by_id in added.items():
        known = entities.setdefault(kind, {})
        again.extend(EntityUid(kind, name) for name in known.keys() & by_id.keys())
        known.update(by_id)
    places = find_entities(text) if again else {}
    return [Problem(file.path, *places[uid], f"`{uid}` is defined elsewhere too") for uid in again]
