"""Writing files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

_UNFINISHED = '.unfinished'


@contextlib.contextmanager
def atomic_write(path, mode: str = 'wb', **options) -> Iterator[IO]:
    """Opens a file for writing under another name, and renames it once all is written.

    A run that is killed meanwhile leaves the file that was there before. Its folder is made.

    Args:
        path: the final name.
        mode: ``wb`` or ``w``.
        options: as of ``open``.
    """
    with atomic_path(path) as unfinished, open(unfinished, mode, **options) as file:
        yield file
        file.flush()
        os.fsync(file.fileno())  # else a power cut could leave the name without its content


@contextlib.contextmanager
def atomic_path(path) -> Iterator[Path]:
    """The same for a function that wants a name: gives the name to write under."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # the suffix is kept, because writers of pictures choose the format by it
    unfinished = path.with_name(f'.{path.stem}.{os.getpid()}{_UNFINISHED}{path.suffix}')
    try:
        yield unfinished
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def remove_unfinished(folder) -> int:
    """Removes what killed runs left half-written in a folder; returns how many files."""
    left = list(Path(folder).glob(f'.*{_UNFINISHED}*'))
    for path in left:
        path.unlink(missing_ok=True)
    return len(left)
