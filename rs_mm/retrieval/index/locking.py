"""A lock on a folder, which ends with the process that holds it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from rs_mm.errors import ConfigError

WAIT = 600  # seconds for another writer


@contextlib.contextmanager
def folder_lock(folder: Path, what: str, wait: float = WAIT) -> Iterator[None]:
    """Holds the lock of a folder.

    Args:
        folder: the folder.
        what: name of the content, for the message.
        wait: seconds to wait for another process.

    Raises:
        ConfigError: another process holds the lock for longer.
    """
    try:
        import fcntl
    except ImportError:  # Windows has no lock: one writer, see docs/search.md
        yield
        return
    with open(folder / 'lock', 'a') as file:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ConfigError(
                        f'{what}: another process has been writing this index for {wait:g} s; wait '
                        'for it, or end it.'
                    ) from None
                time.sleep(0.05)
        yield
