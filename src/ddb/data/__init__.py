"""Data sets: sources of samples (`sources`), the table of samples (`table`), their pixels (`images`)."""
