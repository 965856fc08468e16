"""`python -m ddb.cli`, for launchers such as torchrun."""

from __future__ import annotations

from ddb.cli import main

if __name__ == "__main__":
    main()
