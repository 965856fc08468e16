"""Data sets: where samples come from (`sources`), the table they become (`table`), their pixels (`images`)."""
