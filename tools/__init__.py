"""Tools that turn public collections into files that digitscan reads."""
