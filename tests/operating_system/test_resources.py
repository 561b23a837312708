"""What this process may use."""

import os

from digitscan.system.resources import count_free_descriptors

if os.name == "posix":

    def test_each_open_file_is_one_descriptor_less():
        before = count_free_descriptors()
        descriptors = [os.open(os.devnull, os.O_RDONLY) for _ in range(5)]
        after = count_free_descriptors()
        for descriptor in descriptors:
            os.close(descriptor)
        assert before - after == 5 and count_free_descriptors() == before
