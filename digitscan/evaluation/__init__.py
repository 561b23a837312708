"""Scores of labelled images, and figures of them."""
