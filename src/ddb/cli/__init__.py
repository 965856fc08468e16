"""The command line: app.py has the verbs on a run, groups.py the groups of verbs beside them, outcome.py the messages
and exit codes."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the `ddb` command. Ctrl-C during the imports ends it with the same message and exit code as
    later."""
    try:
        from ddb.cli.app import main as command

        command()
    except KeyboardInterrupt:
        sys.exit(130)
