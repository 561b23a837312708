"""The operating system, by the standard library alone."""
