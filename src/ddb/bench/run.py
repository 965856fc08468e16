"""READ FIRST. The bench from settings to tables:

    every seed   a ddb run up to what is needed -> fits (search) -> choice on validation images -> test figures
    then         figures over seeds -> tables, plots

A bench is resumed like a run: what is there is not made again, and a kill loses at most the fit in hand (whose epochs
have checkpoints of their own).
"""

from __future__ import annotations

import sys
from pathlib import Path

from ddb.bench import team
from ddb.bench.folder import Folder, Record
from ddb.bench.options import Options, check_studies
from ddb.bench.parts import Bench
from ddb.bench.show.output import write_all
from ddb.bench.show.results import Results
from ddb.config import RunConfig
from ddb.engine.interrupt import guarded
from ddb.engine.progress import Progress, open_progress, warnings_shown
from ddb.engine.workspace import Workspace


def run_bench(config: RunConfig, options: Options, out: Path, progress: Progress | None = None) -> Results:
    """Bring the bench in `out` to its end and write its tables there. Raises DDBError; what was made stays."""
    check_studies(config, options.tables)
    progress = progress or open_progress(sys.stderr)
    folder = Folder(out)
    log = Workspace(out, ())
    with guarded(), log.locked(), warnings_shown(progress):
        folder.claim(_shared(config, options))
        bench = Bench(config, options, folder, log, progress)
        for remark in bench.remarks():
            progress.say(remark)
        if options.processes > 1:
            team.do(bench)
        for part in bench.parts():
            bench.do(part)
        results = bench.results()
        write_all(results, out)
    return results


def _shared(config: RunConfig, options: Options) -> Record:
    """What all records of a bench folder have in common. Methods, seeds and tables may be added later."""
    return {
        "config": config.model_dump(mode="json", exclude={"device"}),
        "select": options.select,
        "search": options.search,
        "concepts": "" if options.concepts is None else str(options.concepts),
    }
