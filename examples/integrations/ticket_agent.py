import asyncio

from agents import Agent, RunConfig, Runner, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call
from pdp_client import Client, entity
from pdp_client.integrations.openai_agents import guard_tools


@function_tool
def close_ticket(ticket: int, reason: str) -> str:
    """Closes a ticket."""
    return f"closed {ticket}"


tools = guard_tools([close_ticket], Client("127.0.0.1:7437"), server="tickets", subject=entity("Agent", "clerk"))


async def main() -> None:
    # A model that follows a script, so that this runs without a key.
    calls = [
        function_call("close_ticket", {"ticket": 7, "reason": "answered"}, call_id="1"),
        function_call("close_ticket", {"ticket": 8, "reason": ""}, call_id="2"),
    ]
    agent = Agent(name="clerk", model=ScriptedModel([calls, [assistant_message("done")]]), tools=list(tools))
    run = await Runner.run(agent, "Close 7 and 8.", run_config=RunConfig(tracing_disabled=True))
    for item in run.new_items:
        if item.type == "tool_call_output_item":
            print(item.output)


if __name__ == "__main__":
    asyncio.run(main())
