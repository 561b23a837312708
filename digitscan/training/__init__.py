"""Data in, a trained and calibrated `.h5` out: what `digitscan train` does."""
