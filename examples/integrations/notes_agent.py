import asyncio
from pathlib import Path

from fastmcp import Client


async def main() -> None:
    async with Client(Path(__file__).with_name("notes_server.py")) as agent:
        print("tools:", *(tool.name for tool in await agent.list_tools()))
        for name in ["plan", "private-plan"]:
            result = await agent.call_tool_mcp("read_note", {"name": name})
            print("error:" if result.is_error else "result:", *(block.text for block in result.content))


if __name__ == "__main__":
    asyncio.run(main())
