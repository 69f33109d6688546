"""One question to one snapshot: what is refused, what is denied, and what is kept."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any

import pytest

from pdp.cedar.authorize import Authorizer
from pdp.cedar.model import ActionQuery, DenialCode, EntityUid, Query, ToolQuery
from pdp.cedar.options import AuthorizeOptions
from pdp.errors import InvalidRequestError
from tests.bundles import PERMIT_ALL, entity, load, manifest, tool

SCHEMA = """
entity Group;
entity Agent in [Group];
entity context_user;
entity Server;
action read appliesTo { principal: [Agent], resource: [Server], context: { n?: Long } };
"""
FREE = {"policies/a.cedar": PERMIT_ALL, "tools/s.json": manifest(tool("t", {"n": {"type": "integer"}}))}
TYPED = {**FREE, "schema.cedarschema": SCHEMA}

AGENT, SERVER, READ = EntityUid("Agent", "a"), EntityUid("Server", "s"), EntityUid("Action", "read")
CALL = ToolQuery(AGENT, "s", "t")
QUESTION = ActionQuery(AGENT, READ, SERVER)


def _refused(authorizer: Authorizer, query: Query) -> tuple[str, str]:
    """Where and why a question is refused: every time it is asked, alone and among others."""
    seen = []
    for _ in range(3):
        with pytest.raises(InvalidRequestError) as caught:
            authorizer.authorize(query)
        seen.append((caught.value.field, caught.value.message))
    good, error = authorizer.authorize_batch([CALL, query])
    assert not isinstance(good, InvalidRequestError)
    assert isinstance(error, InvalidRequestError)
    seen.append((error.field, error.message))
    assert len(set(seen)) == 1
    return seen[0]


@pytest.mark.parametrize("files", [FREE, TYPED], ids=["free", "typed"])
@pytest.mark.parametrize(
    "kind", ["", " ", "A b", "1A", "A::", "::A", "A:B", 'A"', "if", "A::in", "A\n", "Ä", "__cedar::A"]
)
def test_types_are_checked_first(files: dict[str, str], kind: str) -> None:
    """A name that is no entity type is refused and named by its field."""
    authorizer = load(files).authorizer
    wrong = EntityUid(kind, "x")
    message = f"`{kind}` is not a Cedar entity type name"
    assert _refused(authorizer, CALL._replace(principal=wrong)) == ("subject.entity.type", message)
    assert _refused(authorizer, QUESTION._replace(principal=wrong)) == ("subject.entity.type", message)
    assert _refused(authorizer, QUESTION._replace(action=wrong)) == ("action_on_resource.action.type", message)
    assert _refused(authorizer, QUESTION._replace(resource=wrong)) == ("action_on_resource.resource.type", message)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (QUESTION._replace(principal=EntityUid("context_user", "x")), "subject.entity"),
        (QUESTION._replace(principal=EntityUid("Nope", "x")), "subject.entity"),
        (QUESTION._replace(action=EntityUid("Action", "context principal")), "action_on_resource.action"),
        (QUESTION._replace(action=EntityUid("context_user", "read")), "action_on_resource.action"),
        (QUESTION._replace(resource=EntityUid("context_user", "principal")), "action_on_resource.resource"),
        (QUESTION._replace(context=b'{"n":"principal"}'), "context_json"),
        (QUESTION._replace(context=b'{"n":1.5}'), "context_json"),
        (QUESTION._replace(context=b'{"principal":1}'), "context_json"),
        (QUESTION._replace(context=b'{"n":null}'), "context_json"),
        (CALL._replace(principal=EntityUid("Group", "g")), "subject.entity.type"),
        (CALL._replace(context=b'{"n":1}'), "context_json"),
        (CALL._replace(entities=b"[1]"), "entities_json"),
        (QUESTION._replace(entities=b"[1]"), "entities_json"),
    ],
)
def test_cedars_refusals_name_the_field(query: Query, field: str) -> None:
    """What Cedar refuses is put down to the part of the request that is at fault, whatever that is called."""
    assert _refused(load(TYPED).authorizer, query)[0] == field


@pytest.mark.parametrize("value", ["1.5", "null", '{"__extn":{"fn":"nope","arg":"1"}}', "99999999999999999999"])
def test_contexts_that_cedar_cannot_take_name_their_field(value: str) -> None:
    """Without a schema as well, a context that Cedar refuses is the context's fault."""
    authorizer = load(FREE).authorizer
    for query in (CALL, QUESTION):
        assert _refused(authorizer, query._replace(context=f'{{"x":{value}}}'.encode()))[0] == "context_json"


def test_an_unknown_tool_is_denied_after_the_caller_is_checked() -> None:
    """The caller's mistakes come first; then an unknown server or tool is a denial."""
    authorizer = load(FREE).authorizer
    assert _refused(authorizer, CALL._replace(tool="x", context=b"[]"))[0] == "context_json"
    for query in (
        CALL._replace(tool="x"),
        CALL._replace(server="x"),
        CALL._replace(tool="T"),
        CALL._replace(tool="t "),
        CALL._replace(tool=f"{CALL.tool}\0"),
        CALL._replace(server=f"{CALL.server}\0{CALL.tool}", tool=""),
        CALL._replace(server="", tool=f"{CALL.server}\0{CALL.tool}"),
        CALL._replace(server=f"\0{CALL.server}"),
    ):
        denial = authorizer.authorize(query).denial
        assert denial is not None
        assert denial.code is DenialCode.UNKNOWN_TOOL


def test_bad_arguments_are_denied() -> None:
    """The agent's mistake is a denial that names the path."""
    denial = load(FREE).authorizer.authorize(CALL._replace(arguments=b'{"n":"x"}')).denial
    assert denial is not None
    assert (denial.code, denial.message) == (DenialCode.INVALID_ARGUMENTS, "/n: must be an integer, not a string")


# --- what is kept ----------------------------------------------------------------------------------------------------


def _long(query: Query, where: str) -> Query:
    """The question made too long to keep, by one of its parts."""
    huge = "x" * 20_000
    if where == "id":
        return query._replace(principal=EntityUid("Agent", huge))
    if where == "context":
        return query._replace(context=json.dumps({"x": huge}).encode())
    if where == "entities":
        return query._replace(entities=json.dumps([entity("Agent", "b", x=huge)]).encode())
    changed: dict[str, dict[str, Any]] = {
        "arguments": {"arguments": json.dumps({"n": 1, "x": huge}).encode()},
        "tool": {"tool": huge},
        "server": {"server": huge},
        "session": {"session_id": huge},
        "action": {"action": EntityUid("Action", huge)},
        "resource": {"resource": EntityUid("Server", huge)},
    }
    return query._replace(**changed[where])


@pytest.mark.parametrize(
    ("query", "where"),
    [(CALL, where) for where in ("id", "context", "entities", "arguments", "tool", "server", "session")]
    + [(QUESTION, where) for where in ("id", "context", "entities", "action", "resource")],
)
def test_long_questions_are_answered_and_forgotten(query: Query, where: str) -> None:
    """No part of a question can fill the memory: whatever is long is not kept as a key of any cache."""
    authorizer = load(FREE).authorizer
    first = authorizer.authorize(_long(query, where))
    [again] = authorizer.authorize_batch([_long(query, where)])
    assert again == first
    assert len(authorizer._answers) == len(authorizer._evaluations) == 0
    keys = [key for part in (authorizer._shapes._young, authorizer._shapes._old) for key in part]
    assert all(len(str(key)) < 10_000 for key in keys)
    assert len(authorizer._model.entities._ancestors) <= 3


def test_references_in_a_context_cannot_fill_the_caches() -> None:
    """A context that refers to thousands of entities is not kept either."""
    authorizer = load(FREE).authorizer
    many = {"x": [{"__entity": {"type": "Agent", "id": f"agent {number}"}} for number in range(1_000)]}
    context = json.dumps(many).encode()
    for query in (CALL, QUESTION):
        assert authorizer.authorize(query._replace(context=context)).allowed
    assert len(authorizer._shapes) == len(authorizer._evaluations) == len(authorizer._answers) == 0


def test_without_a_decision_cache_nothing_is_kept() -> None:
    """Size 0 evaluates every question, with the same answers."""
    authorizer = load(FREE, AuthorizeOptions(decision_cache=0)).authorizer
    answers = [authorizer.authorize(CALL), authorizer.authorize(CALL), *authorizer.authorize_batch([CALL, CALL])]
    assert all(answer == answers[0] for answer in answers)
    assert len(authorizer._answers) == len(authorizer._evaluations) == 0


def test_errors_are_not_kept() -> None:
    """A refused question is refused anew each time and takes no room."""
    authorizer = load(FREE).authorizer
    _refused(authorizer, CALL._replace(context=b"[]"))
    assert len(authorizer._answers) == 1  # of the good question beside it


@pytest.mark.parametrize("field", ["principal", "server", "tool", "arguments", "session_id", "context", "entities"])
def test_every_part_of_a_question_counts(field: str) -> None:
    """Two questions that differ in any one part are never given one another's answers."""
    policies = """
        permit(principal == Agent::"a", action == Action::"s/t", resource)
        when { context.input.n == 1 && context.x == 1 && context.session_id == "s" && Agent::"e" has mark };
    """
    files = {"policies/a.cedar": policies, "tools/s.json": FREE["tools/s.json"], "tools/z.json": FREE["tools/s.json"]}
    marked = json.dumps([entity("Agent", "e", mark=True)]).encode()
    good = ToolQuery(AGENT, "s", "t", b'{"n":1}', "s", b'{"x":1}', marked)
    other: dict[str, Any] = {
        "principal": EntityUid("Agent", "b"),
        "server": "z",
        "tool": "u",
        "arguments": b'{"n":2}',
        "session_id": "z",
        "context": b'{"x":2}',
        "entities": b"",
    }
    authorizer = load(files).authorizer
    bad = good._replace(**{field: other[field]})
    for _ in range(3):
        assert authorizer.authorize(good).allowed
        assert not authorizer.authorize(bad).allowed
        assert [getattr(answer, "allowed", None) for answer in authorizer.authorize_batch([bad, good])] == [False, True]


def test_an_authorizer_dies_with_its_snapshot() -> None:
    """Nothing holds on to an old snapshot once nobody asks it, without help of the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        snapshot = load(TYPED)
        for query in (CALL, QUESTION, CALL._replace(tool="x")):
            snapshot.authorizer.authorize(query)
        watched = weakref.ref(snapshot.authorizer)
        del snapshot
        assert watched() is None
    finally:
        gc.enable()
