"""Finished pieces of a feature cache that is being computed, one file per piece.

A shard is an ``.npz`` that is written under another name and then renamed, so every visible shard
is complete. It names its model and its files. After an interrupted run, any number of processes can
find the features that need not be computed again.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rs_mm.arrays import load_arrays
from rs_mm.files import atomic_write

VERSION = 1
FOLDER = 'shards'


class File(NamedTuple):
    """An image file in the cache."""

    name: str
    size: int
    changed: int


class Shard(NamedTuple):
    """A finished piece: its readable files, row by row, and unreadable files with the reason."""

    path: Path
    files: list[File]
    unreadable: dict[File, str]

    def features(self) -> np.ndarray:
        """Returns the rows of ``files``, (n, D) float32."""
        return load_arrays(self.path)['features']


def digest(identity: Mapping[str, str]) -> str:
    """Returns a hash of what the features depend on besides the files."""
    return hashlib.sha256(json.dumps(dict(identity), sort_keys=True).encode()).hexdigest()


def write_shard(
    folder: str | Path,
    identity: dict,
    files: Sequence[File],
    features: np.ndarray,
    unreadable: Mapping[File, str],
) -> None:
    """Adds a shard to the cache in ``folder``; ``features`` are (n, D) float32 of ``files``."""
    folder = Path(folder) / FOLDER
    about = dict(
        version=VERSION,
        identity=digest(identity),
        files=list(files),
        unreadable=list(unreadable.items()),
    )
    with atomic_write(folder / f'{secrets.token_hex(6)}.npz') as target:
        np.savez(
            target, features=features, about=np.frombuffer(json.dumps(about).encode(), np.uint8)
        )


def read_shards(folder: str | Path, identity: dict) -> tuple[list[Shard], int]:
    """Returns the shards of ``identity`` in ``folder``, and the number of other shards."""
    wanted, shards, others = digest(identity), [], 0
    for path in sorted((Path(folder) / FOLDER).glob('*.npz')):
        try:
            arrays = load_arrays(path)
            about = json.loads(arrays['about'].tobytes())
            if about['version'] != VERSION:
                continue
            if about['identity'] != wanted:
                others += 1
                continue
            files = [File(*file) for file in about['files']]
            unreadable = {File(*file): reason for file, reason in about['unreadable']}
            whole = arrays['features'].ndim == 2 and len(arrays['features']) == len(files)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            continue  # the shard is damaged; its files are computed again
        if whole:
            shards.append(Shard(path, files, unreadable))
    return shards, others


def drop_shards(folder: str | Path) -> None:
    """Removes all shards in ``folder``, and incomplete files of killed runs."""
    folder = Path(folder) / FOLDER
    for path in [*folder.glob('*.npz'), *folder.glob('*.tmp')]:
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
