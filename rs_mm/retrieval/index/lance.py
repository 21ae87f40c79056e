"""An index in Lance, for 10^5 to 10^7 vectors on one disk (extra ``index``)."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.files import atomic_write

from .base import FEW, FileState, Index
from .filters import Condition, to_sql
from .locking import folder_lock
from .record import COLUMNS, INTEGERS, NUMBERS, Record

_INDEX_FROM = 100_000  # with fewer vectors, a plain scan is as fast
_PROBES = 64  # partitions looked into
_BLOCK = 1 << 14
_KEEP = datetime.timedelta(minutes=10)  # age of old versions, which readers may still use


class LanceIndex(Index):
    """An index in a folder that LanceDB manages.

    :meth:`compact` builds an IVF_FLAT index once there are 100,000 vectors. Searches with a filter
    that leaves few records do not use it, because an IVF index loses recall there. A killed process
    leaves the last version.

    Args:
        folder: the folder; it is created for a new index.
        dims: see :class:`Index`.
        identity: see :class:`Index`.
        memory: MiB of its caches; LanceDB's own limits are several GiB.

    Raises:
        ConfigError: lancedb is not installed.
    """

    name = 'lance'

    def __init__(
        self,
        folder: str | Path,
        dims: int | None = None,
        identity: dict[str, str] | None = None,
        memory: float | None = None,
    ) -> None:
        try:
            import lancedb
        except ImportError as error:
            raise ConfigError(
                'an index lance://DIR needs LanceDB: pip install "rs_mm[index]".'
            ) from error
        self.folder = Path(folder)
        if dims is None and not (self.folder / 'index.json').is_file():
            raise MissingFileError(
                f'there is no index lance://{folder}; build one with '
                'tools/retrieval/build_index.py.'
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        super().__init__(f'lance://{folder}', dims, identity)
        try:
            self._table = lancedb.connect(str(self.folder), session=_session(memory)).create_table(
                'vectors', schema=self._schema(), exist_ok=True
            )
        except (ValueError, OSError, RuntimeError) as error:
            raise DataError(
                f'{self.uri} cannot be opened ({str(error).splitlines()[0]}); build it again.'
            ) from error

    def _schema(self):
        import pyarrow as pa

        kinds = {
            **dict.fromkeys(COLUMNS, pa.string()),
            **dict.fromkeys(INTEGERS, pa.int64()),
            **dict.fromkeys(NUMBERS, pa.float64()),
        }
        vector = pa.list_(pa.float32(), self.dims)
        return pa.schema([*((name, kinds[name]) for name in COLUMNS), ('vector', vector)])

    # state

    def _read_state(self, name):
        path = self.folder / name
        return path.read_bytes() if path.is_file() else None

    def _write_state(self, name, content):
        with atomic_write(self.folder / name) as file:
            file.write(content)

    @contextlib.contextmanager
    def _writing(self):
        with folder_lock(self.folder, self.uri):
            yield self._stamp()

    def _stamp(self):
        self._table.checkout_latest()
        return str(self._table.version)

    # rows

    def _upsert(self, records, vectors):
        import pyarrow as pa

        columns = list(zip(*(record.values() for record in records))) or [()] * len(COLUMNS)
        arrays = [pa.array(list(column)) for column in columns]
        arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), self.dims))
        table = pa.Table.from_arrays(arrays, schema=self._schema())
        if not self._known([record.key for record in records]):
            self._table.add(table)  # an upsert reads all keys
            return
        merge = self._table.merge_insert('key').when_matched_update_all()
        merge.when_not_matched_insert_all().execute(table)

    def _delete(self, keys):
        for part in _parts(keys):
            self._table.delete(f'key IN ({_listed(part)})')

    def candidates(
        self, query: np.ndarray, k: int, where: Condition | None = None
    ) -> tuple[list[str], np.ndarray]:
        self._table.checkout_latest()
        search = self._table.search(np.asarray(query, np.float32), vector_column_name='vector')
        search = search.distance_type('dot').select(['key', 'vector', '_distance'])
        search = search.limit(max(1, k + 16))
        if where is not None:
            search = search.where(to_sql(where), prefilter=True)
        if self.is_exact(where):
            search = search.bypass_vector_index()
        elif self._has_index():
            search = search.nprobes(_PROBES)
        found = search.to_arrow()
        return found['key'].to_pylist(), self._vectors_of(found)

    def _vectors_of(self, table):
        column = table['vector']
        chunks = getattr(column, 'chunks', [column])
        parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in chunks]
        return np.concatenate(parts or [np.zeros(0, np.float32)]).reshape(-1, self.dims)

    def _has_index(self, column='vector'):
        return any(column in index.columns for index in self._table.list_indices())

    # the interface

    def is_exact(self, where: Condition | None = None) -> bool:
        return not self._has_index() or (where is not None and self.count(where) <= FEW)

    def count(self, where: Condition | None = None) -> int:
        self._table.checkout_latest()
        return self._table.count_rows(None if where is None else to_sql(where))

    def _selected(self, keys, columns):
        found = {}
        self._table.checkout_latest()
        for part in _parts(list(keys)):
            table = self._table.search().where(f'key IN ({_listed(part)})').select(columns)
            found.update((row['key'], row) for row in table.limit(len(part)).to_list())
        return found

    def _known(self, keys):
        found = self._selected(keys, ['key'])
        return [key for key in keys if key in found]

    def fetch(self, keys: Sequence[str]) -> np.ndarray:
        found = self._selected(keys, ['key', 'vector'])
        vectors = [found[key]['vector'] for key in keys]
        return np.array(vectors, np.float32).reshape(-1, self.dims)

    def records(self, keys: Sequence[str]) -> list[Record]:
        found = self._selected(keys, list(COLUMNS))
        return [Record.from_values(found[key]) for key in keys if key in found]

    def _batches(self, columns, where=None):
        self._table.checkout_latest()
        query = self._table.search().select(columns)
        if where is not None:
            query = query.where(to_sql(where))
        return query.to_batches(_BLOCK)

    def scan(self, where: Condition | None = None) -> Iterator[tuple[list[str], np.ndarray]]:
        for batch in self._batches(['key', 'vector'], where):
            yield batch.column('key').to_pylist(), self._vectors_of(batch)

    def files(self) -> dict[str, FileState]:
        states: dict[str, FileState] = {}
        for batch in self._batches(['name', 'key', 'size', 'changed', 'digest']):
            for row in batch.to_pylist():
                if row['name'] in states:
                    states[row['name']].keys.append(row['key'])
                else:
                    states[row['name']] = FileState(
                        [row['key']], row['size'], row['changed'], row['digest']
                    )
        return states

    def compact(self) -> None:
        """Drops old versions, and builds or extends the IVF_FLAT index."""
        with self._writing():
            moments, count = self.moments(), self.count()
            if count >= FEW and not self._has_index('key'):
                self._table.create_scalar_index('key')  # otherwise every look-up reads all keys
            if count >= _INDEX_FROM and not self._has_index():
                from lancedb.index import IvfFlat

                partitions = int(count**0.5)
                self._table.create_index(
                    'vector', config=IvfFlat(distance_type='dot', num_partitions=partitions)
                )
            self._table.optimize(cleanup_older_than=_KEEP)
            self._keep(moments, self._stamp())


def _session(memory):
    """Caches of so many MiB, or LanceDB's own."""
    if memory is None:
        return None
    import lancedb

    half = int(memory * 2**19)
    return lancedb.Session(index_cache_size_bytes=half, metadata_cache_size_bytes=half)


def _parts(keys, size=500):
    return [keys[start : start + size] for start in range(0, len(keys), size)]


def _listed(keys):
    return ', '.join("'" + key.replace("'", "''") + "'" for key in keys)
