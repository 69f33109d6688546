"""The sandbox: WebAssembly interceptors, loaded from hostile bytes and called with hostile payloads."""
