"""Supervised processes that decode untrusted files."""
