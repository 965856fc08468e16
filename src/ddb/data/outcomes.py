"""Which test images retraining repaired and which it newly broke, from the rows of stage evaluate."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ddb.records import OK

REPAIRED, BROKEN = "repaired", "broken"


def changed(outcomes: pa.Table) -> dict[str, list[str]]:
    """Ids of the test images that were classified wrongly before and correctly after ("repaired"), and correctly before
    and wrongly after ("broken"), each in the order of the table. `outcomes`: rows of `records.OUTCOMES` with at least
    id, label, split, before, after and status."""
    rows = outcomes.filter(pc.and_(pc.equal(outcomes["split"], "test"), pc.equal(outcomes["status"], OK)))
    labels, ids = rows["label"].to_numpy(), rows["id"].to_pylist()
    right = {when: _predicted(rows[when]) == labels for when in ("before", "after")}
    kinds = {REPAIRED: ~right["before"] & right["after"], BROKEN: right["before"] & ~right["after"]}
    return {kind: [ids[row] for row in np.flatnonzero(flags)] for kind, flags in kinds.items()}


def _predicted(probabilities: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    """The class with the highest probability in each row, int64 [N]."""
    if not len(probabilities):
        return np.empty(0, np.int64)
    flat = probabilities.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    found: npt.NDArray[np.int64] = flat.reshape(len(probabilities), -1).argmax(axis=1)
    return found
