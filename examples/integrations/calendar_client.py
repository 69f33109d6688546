import asyncio
import sys
from pathlib import Path

from mcp import Client, StdioServerParameters
from pdp_client import Client as PdpClient
from pdp_client import entity
from pdp_client.integrations.mcp import GuardedSession

SERVER = StdioServerParameters(command=sys.executable, args=[str(Path(__file__).with_name("calendar_server.py"))])


async def main() -> None:
    async with Client(SERVER) as client:
        pdp = PdpClient("127.0.0.1:7437")
        session = GuardedSession(client.session, pdp, server="calendar", subject=entity("Agent", "clerk"))
        print("tools:", *(tool.name for tool in (await session.list_tools()).tools))
        for name, arguments in [("list_events", {"day": "Monday"}), ("cancel_event", {"day": "Monday", "event": "x"})]:
            result = await session.call_tool(name, arguments)
            texts = [getattr(block, "text", "…") for block in result.content]
            print("error:" if result.is_error else "result:", *texts)


if __name__ == "__main__":
    asyncio.run(main())
