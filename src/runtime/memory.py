"""What is kept in memory of files that are read: a total, whatever their number and size."""

import os
import threading
from collections import OrderedDict

# Bytes that the arrays kept by a process may take together.
TOTAL_BYTES = 1 << 27
# One thread at a time reads files: HDF5 and what is kept do not bear two. A process forks while
# no other thread reads, or the lock and the file would stay as they are in the new process.
READING = threading.RLock()
os.register_at_fork(
    before=READING.acquire, after_in_parent=READING.release, after_in_child=READING.release
)


class Kept:
    """Arrays by key; where they would take more than a total, those used longest ago go.

    Args:
        total: the largest number of bytes; the array used last stays even if it alone takes more.
    """

    def __init__(self, total):
        self.total = total
        self.size = 0
        self.arrays = OrderedDict()

    def get(self, key, make):
        """The array of a key, made by a function if it is not here."""
        with READING:
            if key not in self.arrays:
                self.arrays[key] = array = make()
                self.size += array.nbytes
            self.arrays.move_to_end(key)
            while self.size > self.total and len(self.arrays) > 1:
                self.size -= self.arrays.popitem(last=False)[1].nbytes
            return self.arrays[key]


KEPT = Kept(TOTAL_BYTES)
