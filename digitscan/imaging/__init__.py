"""Pictures in, 28x28 digits out: decoding and preprocessing."""
