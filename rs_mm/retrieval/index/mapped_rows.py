"""Rows of a file in memory: the system reads what is looked at, and a limit holds for the rest."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import numpy as np


class MappedRows:
    """A file of little-endian float32 rows, read-only.

    Pages that were looked at stay in the memory of the process while nothing else needs it. With a
    limit, those beyond the first ``memory`` MiB of the file leave it again by :meth:`forget`; the
    system may still hold them, and then reads no disk when they are looked at once more.

    Args:
        path: the file.
        dims: D values of a row.
        memory: MiB of the file that may stay in memory; None sets no limit.

    Attributes:
        array: ``(N, D)`` float32.

    Raises:
        FileNotFoundError: if there is no such file.
    """

    def __init__(self, path: Path, dims: int, memory: float | None = None) -> None:
        self.array = np.zeros((0, dims), '<f4')
        self._map: mmap.mmap | None = None
        with open(path, 'rb') as file:
            count = os.fstat(file.fileno()).st_size // (4 * dims)
            if count:
                self._map = mmap.mmap(file.fileno(), 4 * dims * count, access=mmap.ACCESS_READ)
                self.array = np.frombuffer(self._map, '<f4').reshape(count, dims)
        page = mmap.ALLOCATIONGRANULARITY
        self._limit = None if memory is None else int(memory * 2**20) // page * page

    def forget(self) -> None:
        """Gives back the pages beyond the limit; arrays that look at them stay valid."""
        if self._map is None or self._limit is None or not hasattr(mmap, 'MADV_DONTNEED'):
            return  # Windows has no such call
        if self._limit < len(self._map):
            self._map.madvise(mmap.MADV_DONTNEED, self._limit, len(self._map) - self._limit)
