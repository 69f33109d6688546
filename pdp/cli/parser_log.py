"""`pdp log` with its subcommands and their options."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime

from pdp.cli.options import Commands, Parser, add_command, add_group, add_json, text

_QUERY = (
    "Find records of a decision log. A log is a file, with those that it was before it was rotated and those of other "
    "writers; or a directory of them; or `-`. Conditions are combined. Checkpoints are shown only with `--kind`. Exit "
    "status: 0 if anything matches, 1 if nothing does, 2 if the log cannot be read."
)
_VERIFY = (
    "Find every record of a decision log that was changed, removed, moved or repeated. A log is as for `query`. What "
    "was cut off at its end, after the last checkpoint, cannot be missed: look at the checkpoint's time. Exit status: "
    "0 if nothing is wrong, 1 if anything is, 2 if the log cannot be read."
)
_KEYGEN = (
    "Make an Ed25519 key that signs the checkpoints of the decision log (`decision_log.signing_key`), and print the "
    "public key, which `pdp log verify` needs. Keep it where whoever can write the log cannot change it."
)


def add_log(commands: Commands) -> None:
    """`pdp log`."""
    group = add_group(commands, "log", "search and verify the decision log", "Search and verify the decision log.")
    for add in (_add_query, _add_verify, _add_keygen):
        add(group)


def _add_query(group: Commands) -> None:
    parser = add_command(group, "query", "find records", _QUERY, "log_query")
    _add_paths(parser)
    parser.add_argument("--since", metavar="TIME", type=moment, help="RFC 3339, such as `2026-01-31T08:00:00Z`")
    parser.add_argument("--until", metavar="TIME", type=moment, help="what is earlier than this")
    for flag, metavar, help_text in (
        ("--subject", "UID", 'who asked or on whose behalf, such as `Agent::"bot"`'),
        ("--tool", "GLOB", "a glob over `server/tool`"),
        ("--decision", "allow|deny", "what was decided"),
        ("--code", "CODE", "why it was denied, such as `FORBIDDEN`"),
        ("--policy", "ID", "a policy that decided or failed"),
        ("--caller", "NAME", "who called this service"),
        ("--id", "ID", "of the decision, the request or the session"),
        ("--kind", "KIND", "`authorize`, `decide`, `intercept`, `candidate`, `gap`, `refused` or `checkpoint`"),
    ):
        parser.add_argument(flag, metavar=metavar, type=text, help=help_text)
    parser.add_argument("--follow", action="store_true", help="go on with what comes; for one file")
    parser.add_argument("--json", action="store_true", help="the records as they are, one JSON object a line")


def _add_verify(group: Commands) -> None:
    parser = add_command(group, "verify", "find out whether anything was tampered with", _VERIFY, "log_verify")
    _add_paths(parser)
    help_text = "the public key that checkpoints must be signed with; may be repeated"
    parser.add_argument("--public-key", metavar="FILE", action="append", default=[], help=help_text)
    help_text = "the first records may be missing, because they were rotated away"
    parser.add_argument("--partial", action="store_true", help=help_text)
    add_json(parser)


def _add_keygen(group: Commands) -> None:
    parser = add_command(group, "keygen", "make a key that signs checkpoints", _KEYGEN, "log_keygen")
    parser.add_argument("path", metavar="FILE", type=text, help="a new file for the private key")
    add_json(parser)


def _add_paths(parser: Parser) -> None:
    parser.add_argument("paths", metavar="LOG", nargs="+", help="a file, a directory, or `-`")


def moment(value: str) -> str:
    """A time, as records write it."""
    try:
        found = datetime.fromisoformat(value)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"`{value}` is not a time; write `2026-01-31T08:00:00Z`") from error
    in_utc = (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    return in_utc.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
