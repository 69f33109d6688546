"""An MCP server as anybody could have written it."""

from mcp.server import MCPServer

server = MCPServer("calendar")


@server.tool()
def list_events(day: str) -> list[str]:
    """Lists the events of a day."""
    return [f"{day} 09:00 stand-up"]


@server.tool()
def cancel_event(day: str, event: str) -> str:
    """Cancels an event."""
    return f"cancelled {event}"


if __name__ == "__main__":
    server.run()
