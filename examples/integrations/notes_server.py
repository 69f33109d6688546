from fastmcp import FastMCP
from pdp_client import Client, entity
from pdp_client.integrations.fastmcp import PdpMiddleware

pdp = PdpMiddleware(Client("127.0.0.1:7437"), server="notes", subject=entity("Agent", "clerk"))
mcp = FastMCP("notes", middleware=[pdp])


@mcp.tool(description="Reads a note.")
def read_note(name: str) -> str:
    return f"what the note `{name}` says"


if __name__ == "__main__":
    mcp.run()
