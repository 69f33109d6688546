"""The command line: one module for each subcommand, loaded only when it is asked for."""

from pdp.cli.entry import main

__all__ = ["main"]
