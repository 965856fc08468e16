"""Ours against the public code: are the worst-group accuracies the same on pocket-waterbirds?

    python -m benchmarks.parity --sources DIR --out DIR [--seeds 3] [--codes dfr,jtt,afr,lisa,subpopbench,spuco]

DIR of `--sources` holds the public codes, which you fetch yourself, a folder each; the file here that is named after it
says how, and for which commit it was written. A code that is not there is left out of the table. Results lie under
`--out`, one JSON file a method, side and seed, so a run that was stopped goes on where it stopped.

Nothing of the public code is kept here. It is copied to a scratch folder and patched there; every patch is a piece of
text that is looked for, what stands in its place, and why (`patches.py`).

    ground.py        data set, backbone weights, budget: what both sides get
    handed.py        the backbone, as the patched codes ask for it
    ours.py          the rival of ddb with the same hyperparameters
    patches.py       a patched copy of a checkout
    scripts.py       how a public script is run inside this process
    command.py       what the files of the public codes share
    group_dro_code.py  what two of them have from group_DRO alike
    dfr.py ...       a public code each: its patches, its commands, where its figures are found
    table.py         both sides beside each other
    exact.py         core functions of both sides on the same numbers (sample.py), where no luck is left
"""
