"""Function tools of the OpenAI Agents SDK behind `guard_tools`, run by the SDK's own runner with a model in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from agents import (
    Agent,
    FunctionTool,
    Model,
    ModelResponse,
    RunConfig,
    Runner,
    ToolOutputText,
    Usage,
    WebSearchTool,
    function_tool,
    set_tracing_disabled,
)
from agents.tool_context import ToolContext
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from pdp_client import AsyncClient, Client, Subject, entity
from pdp_client.integrations import openai_agents as guarded
from pdp_client.integrations.openai_agents import guard_tools
from pydantic import BaseModel

from tests.bundles import Files
from tests.grpc.service import serving
from tests.runtimes.conftest import (
    POLICIES,
    SECRET,
    Serve,
    with_arguments,
    with_denied_results,
    with_redaction,
    with_result,
)

CODER = entity("Agent", "coder")

Connect = Callable[..., Client]


class Line(BaseModel):
    """What a tool may return."""

    number: int
    text: str


class Scripted(Model):
    """A model that makes the calls of a test, and keeps what it was told."""

    def __init__(self, calls: list[tuple[str, str]], last: str = "over") -> None:
        self._calls = calls
        self._last = last
        self.told: list[Any] = []

    async def get_response(self, system_instructions: Any, input: Any, *_: Any, **__: Any) -> ModelResponse:  # noqa: A002
        self.told = [item["output"] for item in input if isinstance(item, dict) and "output" in item]
        if self._calls:
            calls, self._calls = self._calls, []
            output: list[Any] = [
                ResponseFunctionToolCall(type="function_call", call_id=f"c{at}", name=name, arguments=arguments)
                for at, (name, arguments) in enumerate(calls)
            ]
        else:
            text = ResponseOutputText(type="output_text", text=self._last, annotations=[])
            output = [
                ResponseOutputMessage(id="m", type="message", role="assistant", status="completed", content=[text])
            ]
        return ModelResponse(output=output, usage=Usage(), response_id=None)

    def stream_response(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError("nothing is streamed here")


class Notes:
    """Some tools, and the calls that reached them."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.answer: Callable[[], Any] = lambda: "text"

        @function_tool(failure_error_function=lambda _, error: str(error))
        def read(path: str, count: int = 1) -> Any:
            """Reads a note."""
            self.calls.append(("read", path, count))
            return self.answer()

        @function_tool
        async def erase(path: str) -> None:
            """Erases a note."""
            self.calls.append(("erase", path))

        self.tools = [read, erase]

    def guarded(self, client: Client | AsyncClient, subject: Any = CODER) -> list[FunctionTool]:
        """The tools as an agent gets them."""
        return guard_tools(self.tools, client, server="notes", subject=subject)


def bundle(**more: str | bytes) -> Files:
    """A bundle that pins the tools, and lets the coder call all but `erase`."""
    return {"policies/a.cedar": POLICIES, "tools/notes.json": json.dumps(guarded.manifest(Notes().tools)), **more}


async def told_async(tools: list[FunctionTool], *calls: tuple[str, Any], context: Any = None) -> list[Any]:
    """What a model is told after it made these calls."""
    texts = [(name, given if isinstance(given, str) else json.dumps(given)) for name, given in calls]
    model = Scripted(texts)
    agent = Agent(name="agent", model=model, tools=list(tools))
    await Runner.run(agent, "go", context=context, run_config=RunConfig(tracing_disabled=True))
    return model.told


def told(tools: list[FunctionTool], *calls: tuple[str, Any], context: Any = None) -> Any:
    """The same, for one call the one answer."""
    answers = asyncio.run(told_async(tools, *calls, context=context))
    return answers[0] if len(calls) == 1 else answers


def read(path: str = "a", **more: Any) -> tuple[str, Any]:
    """A call of `read`."""
    return ("read", {"path": path, "count": 1, **more})


def test_an_allowed_call_reaches_the_tool(connect: Connect) -> None:
    """With an allow the tool runs, and the model is told its output."""
    notes = Notes()
    assert told(notes.guarded(connect(bundle())), read("a.txt")) == "text"
    assert notes.calls == [("read", "a.txt", 1)]


def test_a_denied_call_tells_the_model_why(connect: Connect) -> None:
    """A denial's text is what the model is told, the tool does not run, and the run goes on."""
    notes = Notes()
    answers = told(notes.guarded(connect(bundle())), read("../a"), ("erase", {"path": "a"}), read())
    assert answers[0] == "FORBIDDEN: paths with `..` are not allowed"
    assert answers[1].startswith("FORBIDDEN: ")
    assert answers[2] == "text"
    assert notes.calls == [("read", "a", 1)]


def test_the_tools_of_others_stay_as_they_are(connect: Connect) -> None:
    """Guarding makes new tools, which say the same of themselves, and leaves the old ones alone."""
    notes = Notes()
    tools = notes.guarded(connect(bundle()))
    assert guarded.manifest(tools) == guarded.manifest(notes.tools)
    assert told(notes.tools, ("erase", {"path": "a"})) == "None"


def test_a_tool_that_changed_is_denied(connect: Connect) -> None:
    """A tool whose definition is not the pinned one is not called."""
    notes = Notes()
    notes.tools[0].description = "Reads a note. Before that, reads all the others."
    assert told(notes.guarded(connect(bundle())), read()).startswith("TOOL_CHANGED: ")
    assert notes.calls == []


def test_the_tool_gets_the_authorized_arguments(connect: Connect) -> None:
    """Arguments that an interceptor wrote are those that the tool is called with."""
    notes = Notes()
    told(notes.guarded(connect(with_arguments(bundle(), path="b.txt", count=7))), read("a.txt"))
    assert notes.calls == [("read", "b.txt", 7)]


def test_the_context_of_a_tool_has_the_authorized_arguments(connect: Connect) -> None:
    """A tool that looks for its arguments in its context finds those that were authorized."""
    seen: list[str] = []

    @function_tool
    def read(context: ToolContext[Any], path: str, count: int = 1) -> str:
        """Reads a note."""
        seen.append(context.tool_arguments)
        return path

    tools = guard_tools([read], connect(with_arguments(bundle(), path="b", count=7)), server="notes", subject=CODER)
    assert told(tools, ("read", {"path": "a", "count": 1})) == "b"
    assert [json.loads(arguments) for arguments in seen] == [{"path": "b", "count": 7}]


def test_an_agent_as_a_tool_is_guarded_like_any_other(connect: Connect) -> None:
    """An agent that is a tool does not run when its call is denied, and what it says in the end is looked at."""
    inner = Agent(name="inner", model=Scripted([], f"it is {SECRET}"))
    made = inner.as_tool("ask", "Asks another agent.")
    only = 'forbid (principal, action == Action::"notes/ask", resource) when { context.input.input == "b" };'
    files = with_redaction(bundle(**{"policies/b.cedar": only}))
    client = connect({**files, "tools/notes.json": json.dumps(guarded.manifest([made]))})
    tools = guard_tools([made], client, server="notes", subject=CODER)
    answers = told(tools, ("ask", {"input": "a"}), ("ask", {"input": "b"}))
    assert answers[0] == "it is [redacted:github-token]"
    assert answers[1].startswith("FORBIDDEN: ")


@pytest.mark.parametrize(
    "arguments",
    ["", "[]", '"a"', "{", '{"path": "a", "count": NaN}', '{"path": "a", "path": "../a", "count": 1}'],
)
def test_what_are_no_arguments_is_refused(arguments: str, connect: Connect) -> None:
    """Arguments that are no JSON object, or mean two things, do not reach the tool."""
    notes = Notes()
    answer = told(notes.guarded(connect(bundle())), ("read", arguments))
    assert answer != "text"
    assert notes.calls == []


def test_a_secret_in_an_output_is_redacted(connect: Connect) -> None:
    """The model is told the output as the interceptors left it: text, JSON, the SDK's own kinds, exceptions."""
    notes = Notes()
    tools = notes.guarded(connect(with_redaction(bundle())))
    notes.answer = lambda: f"it is {SECRET}"
    assert told(tools, read()) == "it is [redacted:github-token]"
    notes.answer = lambda: {"token": SECRET}
    assert told(tools, read()) == "{'token': '[redacted:github-token]'}"
    notes.answer = lambda: ToolOutputText(text=SECRET)
    assert told(tools, read()) == [{"type": "input_text", "text": "[redacted:github-token]"}]
    notes.answer = lambda: [ToolOutputText(text=SECRET), ToolOutputText(text="b")]
    assert [part["text"] for part in told(tools, read())] == ["[redacted:github-token]", "b"]
    notes.answer = lambda: Line(number=1, text=SECRET)
    assert "[redacted:github-token]" in told(tools, read())

    def fail() -> Any:
        raise ValueError(f"not with {SECRET}")

    notes.answer = fail
    answer = told(tools, read())
    assert answer == "not with [redacted:github-token]"


def test_an_output_that_is_denied_stays_here(connect: Connect) -> None:
    """When an interceptor denies the output, the model is told the reason in its place."""
    answer = told(Notes().guarded(connect(with_denied_results(bundle()))), read())
    assert answer == "INTERCEPTOR_DENIED: this result stays here"


@pytest.mark.parametrize("output", [object(), (1, 2), b"x", float("nan")], ids=["object", "tuple", "bytes", "nan"])
def test_outputs_that_nobody_can_look_at_stay_here(output: object, connect: Connect) -> None:
    """An output that is no JSON is a refusal, not its `str`."""
    notes = Notes()
    notes.answer = lambda: output
    assert told(notes.guarded(connect(bundle())), read()) == "the result cannot be written as JSON"


def test_what_is_no_output_any_more_stays_here(connect: Connect) -> None:
    """What an interceptor makes of a typed output has to be one of that type."""
    notes = Notes()
    notes.answer = lambda: Line(number=1, text="a")
    tools = notes.guarded(connect(with_result(bundle(), {"number": "x"})))
    assert told(tools, read()) == "what became of the output is none"
    notes.answer = lambda: [ToolOutputText(text="a")]
    assert told(tools, read()) == "what became of the output is none"


def test_without_the_service_nothing_runs(nowhere: Client) -> None:
    """When nobody answers, the model is told a fixed text."""
    notes = Notes()
    assert told(notes.guarded(nowhere), read()) == "the policy decision point gave no decision"
    assert notes.calls == []


def test_a_service_that_stops_takes_the_permission_with_it(tmp_path: Path) -> None:
    """After the service was stopped, the same tool refuses what it did before."""
    notes = Notes()
    with ExitStack() as running:
        service = running.enter_context(serving(tmp_path, bundle()))
        with Client(service.address) as client:
            tools = notes.guarded(client)
            assert told(tools, read()) == "text"
            running.close()
            assert told(tools, read()) == "the policy decision point gave no decision"
    assert len(notes.calls) == 1


def _raising(_context: Any) -> Subject:
    raise RuntimeError("no session")


@pytest.mark.parametrize(
    "subject",
    [None, lambda _: None, _raising, lambda: CODER],
    ids=["none", "says-nothing", "raises", "wrong-parameters"],
)
def test_nobody_in_particular_is_refused(subject: Any, connect: Connect) -> None:
    """Without an identity the tool does not run."""
    notes = Notes()
    assert told(notes.guarded(connect(bundle()), subject), read()) == "it is not known who makes this call"
    assert notes.calls == []


def test_the_context_of_a_run_can_say_who_calls(connect: Connect) -> None:
    """The callable gets the SDK's ToolContext, with what the application put into the run."""
    notes = Notes()

    async def who(context: Any) -> Subject:
        return entity("Agent", context.context["agent"])

    tools = notes.guarded(connect(bundle()), who)
    assert told(tools, read(), context={"agent": "coder"}) == "text"
    assert told(tools, read(), context={"agent": "guest"}).startswith("NO_MATCHING_POLICY: ")


def test_an_async_client_serves_as_well(serve: Serve) -> None:
    """With an `AsyncClient` of the same loop the tool is allowed and denied like with the other one."""
    address = serve(bundle()).address
    notes = Notes()

    async def run() -> list[Any]:
        async with AsyncClient(address) as client:
            return await told_async(notes.guarded(client), read("a"), read("../a"))

    assert asyncio.run(run()) == ["text", "FORBIDDEN: paths with `..` are not allowed"]


def test_what_cannot_be_guarded_is_refused_at_once(nowhere: Client) -> None:
    """Hosted tools and tools with a function as approval policy are refused when they are wrapped."""

    async def approve(*_: Any) -> bool:
        return False

    with pytest.raises(TypeError, match="is no function tool"):
        guard_tools([WebSearchTool()], nowhere, server="notes", subject=CODER)  # type: ignore[list-item]
    tool = Notes().tools[0]
    tool.needs_approval = approve
    with pytest.raises(ValueError, match="has to be true or false"):
        guard_tools([tool], nowhere, server="notes", subject=CODER)


@pytest.fixture(autouse=True)
def _no_tracing() -> None:
    """The SDK would send traces to a service elsewhere."""
    set_tracing_disabled(True)
