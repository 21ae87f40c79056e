"""Finished pieces of a feature cache that is being made, each a file of its own.

A shard is one ``.npz`` that is written under another name and then renamed, so that a shard which
can be seen is whole. It says which model made it and which files it holds: after a run that was
broken off, any number of processes find what need not be computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rs_mm.arrays import load_arrays

VERSION = 1
FOLDER = 'shards'


class File(NamedTuple):
    """An image as the cache knows it."""

    name: str
    size: int
    changed: int


class Shard(NamedTuple):
    """A finished piece: its readable files, row by row, and the others with the reason."""

    path: Path
    files: list[File]
    unreadable: dict[File, str]

    def features(self) -> np.ndarray:
        """The rows of ``files``, (n, D) float32."""
        return load_arrays(self.path)['features']


def digest(identity: Mapping[str, str]) -> str:
    """A hash of what decides the features besides the files."""
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
    folder.mkdir(parents=True, exist_ok=True)
    about = dict(
        version=VERSION,
        identity=digest(identity),
        files=list(files),
        unreadable=list(unreadable.items()),
    )
    name = secrets.token_hex(6)
    temporary = folder / f'{name}.tmp'
    with open(temporary, 'wb') as target:
        np.savez(
            target, features=features, about=np.frombuffer(json.dumps(about).encode(), np.uint8)
        )
        target.flush()
        os.fsync(target.fileno())  # else a power cut could leave a name without its content
    os.replace(temporary, folder / f'{name}.npz')


def read_shards(folder: str | Path, identity: dict) -> tuple[list[Shard], int]:
    """The shards in ``folder`` that ``identity`` made, and the number of those of others."""
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
            continue  # damaged since it was written; its files are computed again
        if whole:
            shards.append(Shard(path, files, unreadable))
    return shards, others


def drop_shards(folder: str | Path) -> None:
    """Removes all shards in ``folder``, and what killed runs left half-written."""
    folder = Path(folder) / FOLDER
    for path in [*folder.glob('*.npz'), *folder.glob('*.tmp')]:
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
