"""The decision: one snapshot's policies, entities and tools, asked one question at a time or many at once.

The steps of `_prepare_*` are numbered in the order of their security meaning; none of them can be skipped, and there
is no way around them to an answer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import cedarpy

from pdp.cedar.arguments import ToolInput
from pdp.cedar.cache import BoundedCache
from pdp.cedar.caller_context import context_text
from pdp.cedar.candidates import Candidates
from pdp.cedar.compiled import CompiledPolicies
from pdp.cedar.entities import EntityStore, references
from pdp.cedar.evaluate import (
    CedarRequest,
    RawAnswers,
    RefusedRequestError,
    cedar_uids,
    evaluate,
    evaluate_fixed,
)
from pdp.cedar.expressions import Facts
from pdp.cedar.model import (
    ActionQuery,
    Authorization,
    Denial,
    DenialCode,
    EntityUid,
    Query,
    ToolQuery,
)
from pdp.cedar.options import AuthorizeOptions
from pdp.cedar.policy_model import PolicyModel
from pdp.cedar.questions import (
    MAX_KEY_LENGTH,
    is_small,
    possible_references,
    refused_field,
    require_acted_for,
    require_type,
)
from pdp.cedar.request_entities import merge_request_entities
from pdp.cedar.slices import PolicySlice, PolicySlices
from pdp.cedar.subject_entities import merge_subject_entities
from pdp.errors import InvalidArgumentsError, InvalidRequestError, InvalidTokenError

#: Subjects from tokens whose entities are at hand.
_SUBJECTS = 4_096

NO_SUBJECT = Denial(DenialCode.INVALID_TOKEN, "the token does not establish who is asking")
_IN_DOUBT = Denial(DenialCode.POLICY_ERROR, "two evaluations of the policies for this call do not agree")
UNKNOWN_TOOL = Denial(DenialCode.UNKNOWN_TOOL, "this tool is not known to the policy service")


class _ShapeKey(NamedTuple):
    """What makes a shape: `refs` are the context's entity references, `entities` the request's own, as JSON text.

    `subject_facts` is what a token says about the subject.
    """

    principal: EntityUid
    action: EntityUid
    resource: EntityUid
    refs: tuple[EntityUid, ...]
    entities: bytes
    subject_facts: str


class _Shape:
    """What all requests of one principal, action, resource and set of references share."""

    __slots__ = ("entities", "fixed", "policies", "uids")

    def __init__(self, key: _ShapeKey, policies: PolicySlice, entities: cedarpy.Entities) -> None:
        self.uids = cedar_uids(key.principal, key.action, key.resource)
        self.policies = policies
        self.entities = entities
        #: What the candidates say that never look at the context, once a tool call has asked.
        self.fixed: RawAnswers | None = None


class _Prepared(NamedTuple):
    """A question ready for Cedar.

    `fixed` is what is known of the answer, None for nothing. `key` is None where the answer is not to be kept.
    `expected` is what the compiled policies say, where Cedar's answer is to be checked against it.
    """

    policies: PolicySlice
    request: CedarRequest
    fixed: RawAnswers | None = None
    key: tuple[object, ...] | None = None
    expected: Authorization | None = None

    @property
    def group(self) -> tuple[int, ...]:
        """Equal for questions of one shape and kind; a tool call asked as an action is not of the same kind."""
        return tuple(map(id, (self.policies, self.request.entities, self.request.schema, self.fixed)))


class Authorizer:
    """Answers questions about one `PolicyModel`. Safe to share between threads; its caches die with it."""

    def __init__(self, model: PolicyModel, options: AuthorizeOptions) -> None:
        self._model = model
        counts = options.counts
        self._strict = options.strict_policy_errors
        self._slices = PolicySlices(model.rules, options.slice_cache, options.counts.slice)
        self._compiled = CompiledPolicies(model.rules, self._slices.index, model.entities)
        self._candidates = self._compiled.tools(model.tools)
        self._evaluator = options.evaluator
        self._evaluators = counts.evaluators
        self._shapes: BoundedCache[_ShapeKey, _Shape] = BoundedCache(options.shape_cache, counts.shape)
        self._stores: BoundedCache[tuple[bytes, str], EntityStore] = BoundedCache(256)
        self._subjects: BoundedCache[str, EntityStore] = BoundedCache(_SUBJECTS)
        size = options.decision_cache
        self._answers: BoundedCache[Query, Authorization] = BoundedCache(size, counts.decision)
        self._evaluations: BoundedCache[tuple[object, ...], Authorization] = BoundedCache(size, counts.evaluation)
        self._keeps_decisions = options.decision_cache > 0

    @property
    def model(self) -> PolicyModel:
        """What decides."""
        return self._model

    @property
    def slices(self) -> PolicySlices:
        """The policies, by what a request can match."""
        return self._slices

    def subject_store(self, facts: str) -> EntityStore:
        """The bundle's entities with what a token says of its subject. Raises InvalidTokenError where they disagree."""
        if not facts:
            return self._model.entities
        store = self._subjects.get(facts)
        if store is None:
            store = merge_subject_entities(self._model.entities, json.loads(facts), self._model.schema)
            self._subjects.put(facts, store)
        return store

    def authorize(self, query: Query) -> Authorization:
        """The answer to `query`. Raises InvalidRequestError where the caller's part of it is malformed."""
        known = self._answers.get(query) if self._keeps_decisions else None
        if known is not None:
            return known
        prepared = self._prepare(query)
        if isinstance(prepared, Authorization):
            answer = prepared
        else:
            answer = self._known(prepared) or self._evaluate(query, prepared)
        self._keep(query, answer)
        return answer

    def authorize_batch(self, queries: Sequence[Query]) -> list[Authorization | InvalidRequestError]:
        """Answers in the order of `queries`; a malformed one gets its error and leaves the others alone.

        Questions that share policies and entities go to Cedar together.
        """
        answers: list[Authorization | InvalidRequestError | None] = [None] * len(queries)
        if self._keeps_decisions:
            answers = [self._answers.get(query) for query in queries]
        groups: dict[tuple[int, ...], list[tuple[int, _Prepared]]] = {}
        for number, query in enumerate(queries):
            if answers[number] is not None:
                continue
            try:
                prepared = self._prepare(query)
            except InvalidRequestError as error:
                answers[number] = error
                continue
            if isinstance(prepared, _Prepared):
                known = self._known(prepared)
                if known is None:
                    groups.setdefault(prepared.group, []).append((number, prepared))
                    continue
                answers[number] = known
            else:
                answers[number] = prepared
                if self._keeps_decisions:
                    self._keep(query, prepared)
        for members in groups.values():
            for number, answer in self._evaluate_group(queries, members):
                answers[number] = answer
        return [answer for answer in answers if answer is not None]

    def _known(self, prepared: _Prepared) -> Authorization | None:
        known = None if prepared.key is None else self._evaluations.get(prepared.key)
        return None if known is None else self._settled(prepared, known)

    def _settled(self, prepared: _Prepared, answer: Authorization) -> Authorization:
        """Cedar's answer, or a denial where something else was expected: one of the two is wrong, and which is open."""
        if prepared.expected is None or prepared.expected == answer:
            return answer
        self._evaluators.disputed += 1
        return Authorization(False, _IN_DOUBT)

    def _keep(self, query: Query, answer: Authorization) -> None:
        if self._keeps_decisions and is_small(query):
            self._answers.put(query, answer)

    def _evaluate(self, query: Query, prepared: _Prepared) -> Authorization:
        try:
            [answer] = evaluate(prepared.policies, [prepared.request], prepared.fixed, strict=self._strict)
        except RefusedRequestError as error:
            return self._settled(prepared, self._refused(query, str(error)))
        self._evaluators.cedar += 1
        if prepared.key is not None:
            self._evaluations.put(prepared.key, answer)
        return self._settled(prepared, answer)

    def _evaluate_group(
        self, queries: Sequence[Query], members: Sequence[tuple[int, _Prepared]]
    ) -> list[tuple[int, Authorization | InvalidRequestError]]:
        first = members[0][1]
        # All of one shape and kind, so requests with the same context text are the same request.
        requests = {prepared.request.context: prepared.request for _, prepared in members}
        try:
            found = evaluate(first.policies, list(requests.values()), first.fixed, strict=self._strict)
        except RefusedRequestError:
            # One of them is at fault; asked alone, each gets its own answer.
            return [(number, self._evaluate_alone(queries[number], prepared)) for number, prepared in members]
        self._evaluators.cedar += len(members)
        known = dict(zip(requests, found, strict=True))
        answers: list[tuple[int, Authorization | InvalidRequestError]] = []
        for number, prepared in members:
            answer = known[prepared.request.context]
            if prepared.key is not None:
                self._evaluations.put(prepared.key, answer)
            settled = self._settled(prepared, answer)
            self._keep(queries[number], settled)
            answers.append((number, settled))
        return answers

    def _evaluate_alone(self, query: Query, prepared: _Prepared) -> Authorization | InvalidRequestError:
        try:
            return self._evaluate(query, prepared)
        except InvalidRequestError as error:
            return error

    def _refused(self, query: Query, message: str) -> Authorization:
        """Cedar refused a request that passed our own checks: never an allow, and never a fault of this service."""
        if isinstance(query, ToolQuery):
            return Authorization.denied(DenialCode.INVALID_ARGUMENTS, "the arguments cannot be represented")
        message = message.removeprefix("failed to build request: ")
        raise InvalidRequestError(refused_field(query, message), message)

    def _prepare(self, query: Query) -> _Prepared | Authorization:
        try:
            if isinstance(query, ToolQuery):
                return self._prepare_tool_call(query)
            return self._prepare_action(query)
        except InvalidTokenError:
            return Authorization(False, NO_SUBJECT)

    def _prepare_tool_call(self, query: ToolQuery) -> _Prepared | Authorization:
        model = self._model
        # 1. Who asks is an entity that may ask at all.
        require_type(query.principal, "subject.entity.type")
        if model.principal_types is not None and query.principal.type not in model.principal_types:
            message = f"`{query.principal.type}` is not a principal type of tool calls in the bundle's schema"
            raise InvalidRequestError("subject.entity.type", message)
        # 2. What the caller adds is well-formed before anything of it is used.
        context = model.context.read(query.context) if query.context else {}
        brings_facts = query.entities or query.subject_facts
        store = self._store(query.entities, query.subject_facts) if brings_facts else model.entities
        # 3. The tool is one that the operator has pinned.
        servers = self._candidates.get(query.tool)
        candidates = None if servers is None else servers.get(query.server)
        if candidates is None:
            return Authorization(False, UNKNOWN_TOOL)
        # 4. The agent's arguments become typed data, or nothing does.
        try:
            full = self._call_context(query, context, candidates.plan.input)
        except InvalidArgumentsError as error:
            return Authorization.denied(DenialCode.INVALID_ARGUMENTS, str(error))
        # 5. Where it is certain what each policy says of it, the answer is known.
        facts = Facts(query.principal, candidates, full, store)
        answer = None if self._evaluator == "cedar" else self._compiled_answer(candidates, facts)
        if answer is not None and self._evaluator == "compiled":
            self._evaluators.compiled += 1
            return answer
        # 6. Otherwise only what can apply and what can be seen goes to Cedar; the rest cannot change the answer.
        refs = tuple(references(context)) if context else ()
        if query.on_behalf_of is not None:
            refs = (*refs, query.on_behalf_of)
        tool = candidates.tool
        key = _ShapeKey(query.principal, tool.action, tool.resource, refs, query.entities, query.subject_facts)
        return self._for_cedar(query, key, facts)._replace(expected=answer)

    def _compiled_answer(self, candidates: Candidates, facts: Facts) -> Authorization | None:
        if facts.entities is not self._model.entities:
            # A question's own entities can say what a server is in, for this question alone.
            candidates = self._compiled.candidates(candidates.tool, facts.entities)
        return self._compiled.answer(candidates, facts)

    def _for_cedar(self, query: ToolQuery, key: _ShapeKey, facts: Facts) -> _Prepared:
        shape = self._shape(key, facts.entities)
        text = shape.policies.cut(facts.context)
        request = CedarRequest(shape.uids, text, shape.entities, None)
        if shape.fixed is None:
            try:
                shape.fixed = evaluate_fixed(shape.policies, request)
            except RefusedRequestError as error:
                # Nothing of the agent's is in that request: what Cedar refuses is who asks.
                raise InvalidRequestError("subject.entity", str(error)) from error
        is_kept = self._keeps_decisions and len(text) <= MAX_KEY_LENGTH and is_small(query)
        return _Prepared(shape.policies, request, shape.fixed, (*key, text) if is_kept else None)

    def _call_context(self, query: ToolQuery, context: dict[str, Any], tool_input: ToolInput) -> dict[str, Any]:
        """All that policies may read of a call. Raises InvalidArgumentsError for what the agent got wrong."""
        converted = tool_input.convert(query.arguments)
        full = {**context, "input": converted.value, "undeclared": converted.undeclared}
        if query.session_id:
            full["session_id"] = query.session_id
        if query.facts:
            full["interceptors"] = json.loads(query.facts)
        if query.on_behalf_of is not None:
            full["on_behalf_of"] = require_acted_for(query.on_behalf_of, self._model.on_behalf_of_type)
        return full

    def _prepare_action(self, query: ActionQuery) -> _Prepared:
        require_type(query.principal, "subject.entity.type")
        require_type(query.action, "action_on_resource.action.type")
        require_type(query.resource, "action_on_resource.resource.type")
        context = self._model.context.parse(query.context)
        text = query.context.decode() or "{}"
        if query.on_behalf_of is not None:
            if "on_behalf_of" in context:
                raise InvalidRequestError("context_json", "`on_behalf_of` is filled in by the service for this subject")
            context = {**context, "on_behalf_of": require_acted_for(query.on_behalf_of, self._model.on_behalf_of_type)}
            text = context_text(context)
        refs = tuple(possible_references(context))
        key = _ShapeKey(query.principal, query.action, query.resource, refs, query.entities, query.subject_facts)
        shape = self._shape(key, self._store(query.entities, query.subject_facts))
        request = CedarRequest(shape.uids, text, shape.entities, self._model.schema)
        # The caller's context is for Cedar to check against the schema, so Cedar gets the whole request every time.
        return _Prepared(shape.policies, request)

    def _store(self, entities: bytes, facts: str) -> EntityStore:
        """The entities that a question can see: the bundle's, with its subject's and its own on top."""
        base = self.subject_store(facts)
        if not entities:
            return base
        store = self._stores.get((entities, facts))
        if store is None:
            store = merge_request_entities(base, entities, self._model.schema)
            if len(entities) <= MAX_KEY_LENGTH:
                self._stores.put((entities, facts), store)
        return store

    def _shape(self, key: _ShapeKey, store: EntityStore) -> _Shape:
        shape = self._shapes.get(key)
        if shape is None:
            policies = self._slices.find(*((uid, store.ancestors(uid)) for uid in key[:3]))
            roots = {*key[:3], *key.refs, *policies.literals}
            shape = _Shape(key, policies, store.slice(roots, policies.derefs))
            names = sum(len(uid.type) + len(uid.id) for uid in (*key[:3], *key.refs))
            if len(key.entities) + len(key.subject_facts) + names <= MAX_KEY_LENGTH:
                # A shape keeps its slice alive, so many shapes with large slices count for more.
                self._shapes.put(key, shape, 1 + policies.weight // 8)
        return shape
