"""Contests between ddb and what its users would otherwise write; `benchmarks/peers.py` runs them."""
