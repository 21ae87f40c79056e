"""Storage of intermediate results on disk, from which a later run continues exactly."""

from __future__ import annotations

import contextlib
import errno
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rs_mm.errors import ConfigError, DataError
from rs_mm.files import atomic_write, write_json


class Scratch:
    """A folder of named arrays without incomplete arrays.

    Args:
        folder: the folder; it is created if needed. Without ``resume``, arrays of an earlier run
            are removed.
        identity: what the arrays depend on (inputs, model, options), as JSON.
        resume: continue with the arrays of an earlier run.

    Raises:
        ConfigError: with ``resume``, the earlier run had another identity; the message names the
            key.
        DataError: the folder cannot be written.
    """

    def __init__(self, folder: str | Path, identity: dict[str, Any], resume: bool = False) -> None:
        self.folder = Path(folder)
        job = self.folder / 'job.json'
        identity = json.loads(json.dumps(identity, default=str))
        if resume and job.is_file():
            _check_identity(job, identity)
            return
        with system_errors(self.folder):
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            write_json(job, identity, indent=2)

    def __contains__(self, name: str) -> bool:
        return self._path(name).is_file()

    def save(self, name: str, array: np.ndarray) -> None:
        """Stores an array; a process that is killed during this leaves no array of this name."""
        path = self._path(name)
        with system_errors(path), atomic_write(path) as file:
            np.save(file, array, allow_pickle=False)

    def load(self, name: str) -> np.ndarray:
        """Returns the array of this name."""
        return np.load(self._path(name), allow_pickle=False)

    def drop(self, name: str) -> None:
        """Forgets an array, if it is there."""
        self._path(name).unlink(missing_ok=True)

    def remove(self) -> None:
        """Removes the folder after the work is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, name):
        return self.folder / f'{name}.npy'


class InMemory(dict):
    """The same storage in memory, for a scene whose results fit into memory."""

    save, load = dict.__setitem__, dict.__getitem__

    def drop(self, name: str) -> None:
        """Forgets an array, if it is there."""
        self.pop(name, None)


def _check_identity(job, identity):
    try:
        before = json.loads(job.read_text())
    except (OSError, ValueError) as error:
        raise DataError(f'{job}: what an earlier run left cannot be read ({error}).') from error
    for key in sorted(before.keys() | identity.keys()):
        if before.get(key) != identity.get(key):
            raise ConfigError(
                f'--resume: the earlier run in {job.parent} had another `{key}` '
                f'({before.get(key)}, now {identity.get(key)}); run without --resume to start anew.'
            )


@contextlib.contextmanager
def system_errors(path: str | Path) -> Iterator[None]:
    """Turns errors of the operating system into one sentence about this file.

    Raises:
        DataError: no space, no permission, a file where a folder should be, ...
    """
    try:
        yield
    except OSError as error:
        raise DataError(f'{path} cannot be written: {reason(error)}.') from error


def reason(error: OSError) -> str:
    """Returns the system's reason in words."""
    # numpy reports the number of written items, and no error number
    short = error.errno is None and 'requested and' in str(error)
    if short or error.errno in (errno.ENOSPC, errno.EDQUOT):
        return 'the disk is full'
    return (error.strerror or str(error)).rstrip('.').lower()


def check_free_space(folder: str | Path, needed: int, what: str) -> None:
    """Checks the disk space of a folder, which may not exist yet.

    Args:
        folder: folder to write into.
        needed: bytes.
        what: name of the data, for the message.

    Raises:
        DataError: there is less free space.
    """
    place = Path(folder).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < needed:
        raise DataError(
            f'{folder}: {what} needs about {needed / 1e9:.1f} GB, but only {free / 1e9:.1f} GB '
            'are free.'
        )
