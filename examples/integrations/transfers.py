from pdp_client import Client, entity
from pdp_client.integrations import RefusedError, guarded

client = Client("127.0.0.1:7437")


@guarded(client, server="payments", subject=entity("Agent", "clerk"))
def transfer(account: str, amount: int) -> dict[str, str]:
    return {"status": f"sent {amount} to {account}"}


if __name__ == "__main__":
    print(transfer("ACME-1", 50))
    try:
        transfer("ACME-1", amount=5000)
    except RefusedError as refusal:
        print(refusal)
