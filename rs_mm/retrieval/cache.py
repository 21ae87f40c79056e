"""Features on disk: a ``.npy`` memory map, and a JSON file that names the model behind it.

``features.json`` names the array's file, its size and type, the model, its weights, the
preprocessing, and every image with its size and time of change. The file is replaced in one step
after the array is complete. So an interrupted run leaves the previous state and its finished shards
(:mod:`rs_mm.retrieval.shards`). If the model differs, all features are computed again; otherwise
only those of changed images.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rs_mm.arrays import load_array
from rs_mm.files import atomic_write

from .shards import File, Shard

VERSION = 2
MISSING = -1


class FeatureCache:
    """The features of one list of files under one model.

    Args:
        folder: folder of the cache; it is created when the cache is written.
        identity: what the features depend on besides the files: architecture, weights,
            preprocessing. None accepts the stored features of any model.

    Attributes:
        stored: content of ``features.json``; None if there is no usable file.
        why_rebuilt: why the existing file cannot be used.
        foreign: whether the reason is another model.
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
            if Path(stored['array']).name != stored['array']:  # no other folder
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
        """The identity of the model that made the stored features; empty if there are none."""
        return self.stored['identity'] if self.stored else {}

    def plan(self, files: Sequence[File]) -> np.ndarray:
        """Finds the stored features of each file.

        Returns:
            (N,) int64: row of the stored array, or :data:`MISSING` (-1) if the features must be
            computed. Files that could not be read are also -1, because the cause may be gone and
            such files are few.
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
            files: the files of the whole archive, each once.
            rows: result of :meth:`plan` for them.
            shards: the features that were missing; they are read one at a time.
            paths: paths of the files, for readers.
            about: further information for readers, in JSON types.
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
        """Returns the stored features, (N, D) float32, as a memory map; changes stay in memory."""
        return load_array(self.folder / self.stored['array'], 'c')

    def names(self) -> list[str]:
        """The names of the images in the rows of :meth:`features`."""
        return [file[0] for file in self.stored['files']]

    def unreadable(self) -> dict[str, str]:
        """The images that could not be read, with the reasons."""
        return {file[0]: reason for file, reason in self.stored['unreadable']}

    def _is_stored(self, files, rows, readable):
        return (
            self.stored is not None
            and len(readable) == len(self.stored['files'])
            and np.array_equal(rows[readable], np.arange(len(readable)))
            and len(files) == len(readable) + len(self.stored['unreadable'])
        )

    def _commit(self, stored):
        with atomic_write(self.folder / 'features.json', 'w', encoding='utf-8') as file:
            file.write(json.dumps(stored))
        self.stored = stored
        for path in self.folder.glob('features-*'):  # the previous array, and abandoned ones
            if path.name != stored['array']:
                path.unlink(missing_ok=True)
