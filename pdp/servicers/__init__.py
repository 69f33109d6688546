"""RPC handlers: identify, translate, decide, record, answer."""
