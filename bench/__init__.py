"""Benchmarks: pinned workloads, run against this service and its peers; `bench/README.md` tells how to read them."""
