"""Features on disk: a ``.npy`` memory map, and a JSON that says what made it.

``features.json`` names the array's file, its size and type, the model, its weights, the
preprocessing, and every image with its size and time of change. It is replaced in one step after
the array is complete, so that a broken-off run leaves the previous state, and beside it the shards
it had finished (:mod:`rs_mm.retrieval.shards`). What does not match is computed again: all of it if
the model differs, single images if only they do.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rs_mm.arrays import load_array

from .shards import File, Shard

VERSION = 2
MISSING = -1


class FeatureCache:
    """The features of one list of files under one model.

    Args:
        folder: where it lies; made when it is written.
        identity: what decides the features besides the files: architecture,
            weights, preprocessing. None takes what is stored, whatever made it.

    Attributes:
        stored: content of ``features.json``; None if there is none that can be used.
        why_rebuilt: why what is there cannot be used.
        foreign: whether that is because something else made it.
    """

    def __init__(self, folder: str | Path, identity: dict[str, str] | None = None) -> None:
        self.folder = Path(folder)
        self.identity = dict(identity or {})
        self.foreign = False
        self.stored, self.why_rebuilt = self._read()

    def _read(self):
        path = self.folder / 'features.json'
        if not path.is_file():
            return None, None
        try:
            stored = json.loads(path.read_text(encoding='utf-8'))
            if stored['version'] != VERSION:
                return None, 'it was written by another version'
            other = [
                key for key, value in self.identity.items() if stored['identity'].get(key) != value
            ]
            if other:
                self.foreign = True
                return None, f'another {" and ".join(other)} made it'
            if Path(stored['array']).name != stored['array']:  # it lies beside the JSON
                return None, 'it names an array elsewhere'
            array = load_array(self.folder / stored['array'], 'r')
            if array.ndim != 2 or len(array) != len(stored['files']):
                return None, 'its array does not fit its list of files'
            for file in (*stored['files'], *(file for file, _ in stored['unreadable'])):
                hash(File(*file))
        except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
            return None, f'it is damaged ({type(error).__name__})'
        return stored, None

    @property
    def made_by(self) -> dict[str, str]:
        """The identity of what made the stored features; empty where there are none."""
        return self.stored['identity'] if self.stored else {}

    def plan(self, files: Sequence[File]) -> np.ndarray:
        """Where the features of each file are.

        Returns:
            (N,) int64: row of the stored array, or :data:`MISSING` (-1) if they are to
            be computed. That includes files which could not be read: what was wrong with the disk,
            the network or a record may have been mended, and few are.
        """
        if self.stored is None:
            return np.full(len(files), MISSING, np.int64)
        known = {tuple(file): row for row, file in enumerate(self.stored['files'])}
        return np.array([known.get(tuple(file), MISSING) for file in files], np.int64)

    def write(
        self,
        files: Sequence[File],
        rows: np.ndarray,
        shards: Sequence[Shard],
        paths: Sequence[str],
        about: dict | None = None,
    ) -> None:
        """Stores the features of ``files``, in their order, without the unreadable ones.

        Args:
            files: the whole archive; no two are equal.
            rows: what :meth:`plan` said about them.
            shards: the features that were missing; read one at a time.
            paths: where the files lie, for readers.
            about: what else readers want to know, as JSON has it.
        """
        place_of = {file: place for place, file in enumerate(files)}
        reasons = {
            place_of[file]: reason
            for shard in shards
            for file, reason in shard.unreadable.items()
            if file in place_of
        }
        readable = np.array([i for i in range(len(files)) if i not in reasons], np.int64)
        if self._is_stored(files, rows, readable):
            return
        target = np.full(len(files), MISSING, np.int64)
        target[readable] = np.arange(len(readable))
        self.folder.mkdir(parents=True, exist_ok=True)
        old = None if self.stored is None else self.features()
        filled = [shard for shard in shards if shard.files]
        dim = filled[0].features().shape[1] if filled else old.shape[1]
        name = f'features-{secrets.token_hex(4)}.npy'
        array = np.lib.format.open_memmap(
            self.folder / name, 'w+', np.float32, (len(readable), dim)
        )
        kept = readable[rows[readable] >= 0]
        for chunk in np.array_split(kept, len(kept) // 65536 + 1):
            if len(chunk):
                array[target[chunk]] = old[rows[chunk]]
        for shard in filled:
            places = np.array([place_of.get(file, MISSING) for file in shard.files], np.int64)
            array[target[places[places >= 0]]] = shard.features()[places >= 0]
        array.flush()
        del array
        self._commit(
            dict(
                version=VERSION,
                identity=self.identity,
                array=name,
                count=len(readable),
                dims=dim,
                dtype='float32',
                files=[list(files[i]) for i in readable],
                unreadable=[[list(files[i]), reasons[i]] for i in sorted(reasons)],
                paths=[str(paths[i]) for i in readable],
                about=about or {},
            )
        )

    def features(self) -> np.ndarray:
        """The stored features, (N, D) float32, as a memory map; what is written stays in memory."""
        return load_array(self.folder / self.stored['array'], 'c')

    def names(self) -> list[str]:
        """Names of the images the rows of :meth:`features` belong to."""
        return [file[0] for file in self.stored['files']]

    def unreadable(self) -> dict[str, str]:
        """Images that could not be read, and why."""
        return {file[0]: reason for file, reason in self.stored['unreadable']}

    def _is_stored(self, files, rows, readable):
        return (
            self.stored is not None
            and len(readable) == len(self.stored['files'])
            and np.array_equal(rows[readable], np.arange(len(readable)))
            and len(files) == len(readable) + len(self.stored['unreadable'])
        )

    def _commit(self, stored):
        temporary = self.folder / f'{stored["array"]}.json'
        temporary.write_text(json.dumps(stored), encoding='utf-8')
        os.replace(temporary, self.folder / 'features.json')
        self.stored = stored
        for path in self.folder.glob('features-*'):  # the previous array, and abandoned ones
            if path.name != stored['array']:
                path.unlink(missing_ok=True)
