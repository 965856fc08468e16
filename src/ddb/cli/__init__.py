"""The command line: app.py has the verbs on a run, groups.py the groups of verbs beside them, outcome.py the messages
and exit codes."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the `ddb` command. Ctrl-C while it is still loading ends it as one that comes later does."""
    try:
        from ddb.cli.app import main as command

        command()
    except KeyboardInterrupt:
        sys.exit(130)
