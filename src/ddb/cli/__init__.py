"""The command line: app.py has the verbs on a run, groups.py the groups of verbs beside them."""

from __future__ import annotations

from ddb.cli.app import main as main
