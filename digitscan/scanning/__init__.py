"""Files in, rows out: what `digitscan scan` does."""
