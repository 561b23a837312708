"""Figures about digitscan: run `python -m benchmarks.NAME`."""
