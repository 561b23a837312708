"""Measurements of speed and accuracy: run `python -m benchmarks.NAME`."""
