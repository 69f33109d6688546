from langchain_core.tools import tool
from pdp_client import Client, entity
from pdp_client.integrations.langchain import guard_tools


@tool
def send_mail(to: str, subject: str, body: str) -> str:
    """Sends a mail."""
    return f"sent to {to}"


tools = guard_tools([send_mail], Client("127.0.0.1:7437"), server="mail", subject=entity("Agent", "clerk"))

if __name__ == "__main__":
    # What an agent does with what its model answers.
    for to in ["alice@example.com", "mallory@example.net"]:
        args = {"to": to, "subject": "Hello", "body": "…"}
        message = tools[0].invoke({"type": "tool_call", "id": "1", "name": "send_mail", "args": args})
        print(f"{message.status}: {message.content}")
