"""The decision log: what was decided, for whom, why and how fast; one JSON line each."""
