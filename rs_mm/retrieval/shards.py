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
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

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
        with np.load(self.path) as stored:
            return stored['features']


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
        about = _read_about(path)
        if about is None or about['version'] != VERSION:
            continue
        if about['identity'] != wanted:
            others += 1
            continue
        shards.append(
            Shard(
                path,
                [File(*file) for file in about['files']],
                {File(*file): reason for file, reason in about['unreadable']},
            )
        )
    return shards, others


def drop_shards(folder: str | Path) -> None:
    """Removes all shards in ``folder``, and what killed runs left half-written."""
    folder = Path(folder) / FOLDER
    for path in [*folder.glob('*.npz'), *folder.glob('*.tmp')]:
        path.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _read_about(path):
    try:
        with np.load(path) as stored:
            return json.loads(stored['about'].tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # damaged since it was written; its files are computed again
