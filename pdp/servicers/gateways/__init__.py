"""Protocols that gateways speak already, answered by the same calls as `pdp.v1`."""
