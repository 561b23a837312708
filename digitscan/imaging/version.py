"""The version of preprocessing, apart from its code: a scan's parent process loads no numpy."""

PREPROCESS_VERSION = 3
"""Raised when an image may give other pixels than before. It is stored with each model and each scan."""
COMPATIBLE_VERSIONS = (2, 3)
"""The versions of models that can be used.

Version 3 finds the digit in more images: in boxes, among lines and neighbours, in uneven light, where it is
faint. Of a digit alone on even paper, both give the same pixels, so models of version 2 can read them; all of
MNIST's images are the same.
"""
LINE_PREPROCESS_VERSION = 1
"""Raised when a picture may give another line than before (see `line_image`)."""
