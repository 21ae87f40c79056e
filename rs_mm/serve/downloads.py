"""Files that the page offers for an hour."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

KEPT = 3600  # seconds


class Downloads:
    """Folders for files that are offered; they end with the page, or after an hour.

    A page may run for weeks, and each answer has its files.
    """

    def __init__(self) -> None:
        self._place = tempfile.TemporaryDirectory(prefix='rs_mm_page_', ignore_cleanup_errors=True)

    def folder(self) -> Path:
        """A new, empty folder."""
        root = Path(self._place.name)
        for old in root.iterdir():
            if time.time() - old.stat().st_mtime > KEPT:
                shutil.rmtree(old, ignore_errors=True)
        return Path(tempfile.mkdtemp(dir=root))
