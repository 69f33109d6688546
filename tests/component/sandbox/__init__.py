"""The sandbox with real modules in it."""
