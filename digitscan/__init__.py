"""Scan a folder of digit images into a spreadsheet that can be trusted."""

__version__ = "0.1.0"
