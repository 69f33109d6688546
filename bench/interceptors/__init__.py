"""Benchmarks of interceptors: the same payloads through modules of every language, a webhook and plain Python."""
