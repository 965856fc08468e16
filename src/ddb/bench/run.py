"""READ FIRST. The bench from settings to tables:

    every seed   a ddb run up to the needed stage -> fits (search) -> choice on validation images -> test figures
    then         figures over seeds -> tables and charts

A bench is resumed like a run: records that exist are not made again, and a kill loses at most the running fit (which
writes a checkpoint after every epoch).
"""

from __future__ import annotations

import sys
from pathlib import Path

from ddb.bench.fits.trial import shared_budget
from ddb.bench.folder import Folder, Record
from ddb.bench.options import Options, check_studies
from ddb.bench.parts import PartRunner
from ddb.bench.show.output import write_all
from ddb.bench.show.results import Results
from ddb.bench.team.hand_out import run_parts
from ddb.config import RunConfig
from ddb.config.marks import deciding
from ddb.engine import journal
from ddb.engine.interrupt import guarded
from ddb.engine.progress import Progress, open_progress, warnings_shown


def run_bench(config: RunConfig, options: Options, out: Path, progress: Progress | None = None) -> Results:
    """Run the bench in the folder `out` to its end and write its tables there; an existing bench is resumed.

    Raises DDBError (see `ddb.errors`); finished records stay in the folder."""
    check_studies(config, options.tables)
    shared_budget(config)  # ConfigError where the settings leave none
    progress = progress or open_progress(sys.stderr)
    folder = Folder(out)
    with guarded(), journal.locked(out), warnings_shown(progress):
        folder.claim(_shared(config, options))
        runner = PartRunner(config, options, folder, progress)
        for remark in runner.remarks():
            progress.say(remark)
        if options.engine == "ray" or options.processes > 1:
            run_parts(runner)
        for part in runner.parts():
            runner.run(part)
        results = runner.results()
        write_all(results, out)
    return results


def _shared(config: RunConfig, options: Options) -> Record:
    """The settings that all records of a bench folder share. Methods, seeds and tables may be added later."""
    return {
        "config": deciding(config),
        "select": options.select,
        "search": options.search,
        "concepts": "" if options.concepts is None else str(options.concepts),
        **({} if options.groups == "given" else {"groups": options.groups}),
    }
