"""The default index: vectors in a memory-mapped file, metadata in SQLite, exact search."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.files import atomic_write

from .base import FileState, Index
from .filters import Condition, to_sql
from .mapped_rows import MappedRows
from .record import COLUMNS, INTEGERS, NUMBERS, Record

_BLOCK = 1 << 16
_WAIT = 60  # seconds for another process to finish writing
_ATTEMPTS = 3  # to open a file that others may replace
_TYPES = {**dict.fromkeys(INTEGERS, 'INTEGER'), **dict.fromkeys(NUMBERS, 'REAL')}


class ExactIndex(Index):
    """An index in a folder with ``index.sqlite`` and ``vectors-*.f32``: little-endian float32, row
    by row.

    A row is appended before the transaction that names it, so a killed process leaves the previous
    state. Removed rows leave gaps until :meth:`compact`. Writers wait for each other.

    Args:
        folder: the folder; it is created for a new index.
        dims: see :class:`Index`.
        identity: see :class:`Index`.
        memory: MiB of the vectors that stay in the memory of the process after a search; see
            :class:`~rs_mm.retrieval.index.mapped_rows.MappedRows`.
    """

    name = 'exact'

    def __init__(
        self,
        folder: str | Path,
        dims: int | None = None,
        identity: dict[str, str] | None = None,
        memory: float | None = None,
    ) -> None:
        self.folder, self._memory = Path(folder), memory
        self._vectors: np.ndarray | None = None
        self._mapped: tuple[str, MappedRows] | None = None
        self._live: tuple[str, np.ndarray] | None = None
        self._transaction = False
        file = self.folder / 'index.sqlite'
        if not file.is_file():
            if dims is None:
                raise MissingFileError(
                    f'there is no index {folder}; build one with tools/retrieval/build_index.py.'
                )
            self.folder.mkdir(parents=True, exist_ok=True)
        self._connect(str(file))
        super().__init__(str(folder), dims, identity)

    @classmethod
    def of(
        cls, vectors: np.ndarray, records: Sequence[Record], identity: dict[str, str]
    ) -> ExactIndex:
        """Makes an index of an existing array ``(N, D)`` float32; its metadata stays in memory."""
        index = cls.__new__(cls)
        index.folder, index._live, index._transaction = Path(), None, False
        index._vectors, index._mapped = vectors, None
        index._connect(':memory:')
        Index.__init__(index, 'features', vectors.shape[1], identity)
        with index._writing():
            index._insert(records, 0)
        return index

    def _connect(self, file):
        try:
            # only one thread of a server runs at a time, see rs_mm.serve
            self._db = sqlite3.connect(file, _WAIT, isolation_level=None, check_same_thread=False)
            columns = ', '.join(f'"{name}" {_TYPES.get(name, "TEXT")}' for name in COLUMNS[1:])
            if not self._db.execute('SELECT 1 FROM sqlite_master WHERE name = "rows"').fetchone():
                self._db.executescript(
                    'CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, content BLOB);'
                    'CREATE TABLE IF NOT EXISTS rows '
                    f'(row INTEGER PRIMARY KEY, key TEXT UNIQUE, {columns});'
                    'CREATE INDEX IF NOT EXISTS names ON rows (name);'
                )
        except sqlite3.OperationalError as error:
            raise self._busy(error) from error
        except sqlite3.DatabaseError as error:
            raise DataError(
                f'{file} is not an index, or is damaged ({error}); build it again.'
            ) from error

    def _sql(self, text, parameters=()):
        try:
            return self._db.execute(text, parameters)
        except sqlite3.OperationalError as error:
            raise self._busy(error) from error
        except sqlite3.DatabaseError as error:
            raise DataError(
                f'{self.folder}: the index is damaged ({error}); build it again.'
            ) from error

    def _busy(self, error):
        if 'locked' in str(error):
            return ConfigError(
                f'{self.folder}: another process has been writing this index for {_WAIT} s; wait '
                'for it, or end it.'
            )
        return ConfigError(f'{self.folder}: the index cannot be opened ({error}).')

    # state

    def _read_state(self, name):
        found = self._sql('SELECT content FROM state WHERE name = ?', (name,)).fetchone()
        return None if found is None else found[0]

    def _write_state(self, name, content):
        try:
            self._db.execute('INSERT OR REPLACE INTO state VALUES (?, ?)', (name, content))
        except sqlite3.OperationalError as error:
            if 'readonly' not in str(error):  # moments are stored if possible
                raise self._busy(error) from error

    @contextlib.contextmanager
    def _writing(self):
        self._sql('BEGIN IMMEDIATE')
        self._transaction = True
        try:
            yield self._stamp()
            self._sql('COMMIT')
        except BaseException:
            self._db.execute('ROLLBACK')
            raise
        finally:
            self._transaction = False

    @contextlib.contextmanager
    def _reading(self):
        """The vectors ``(rows, D)`` of one moment, whatever others write."""
        if self._transaction:
            yield self._array()
            return
        for attempt in range(_ATTEMPTS):
            self._sql('BEGIN')
            self._transaction = True
            try:
                array = self._array()
            except FileNotFoundError as error:
                if attempt + 1 == _ATTEMPTS:
                    raise DataError(
                        f'{error.filename} is gone, but the index needs it; build the index again.'
                    ) from error
                continue  # another process has compacted the index since the transaction began
            else:
                yield array
                break
            finally:
                self._transaction = False
                self._db.execute('ROLLBACK')

    def _stamp(self):
        return (self._read_state('stamp') or b'').decode()

    # rows

    def _upsert(self, records, vectors):
        name = self._read_state('array')
        if name is None:
            name = f'vectors-{secrets.token_hex(4)}.f32'.encode()
            self._write_state('array', name)
        with open(self._file(name), 'ab') as file:
            # nothing is written over, because others may read what was removed a moment ago
            start = -(-file.tell() // (self.dims * 4))
            file.truncate(start * self.dims * 4)
            file.write(vectors.astype('<f4').tobytes())
            file.flush()
            os.fsync(file.fileno())
        self._insert(records, start)

    def _file(self, name):
        """The file of vectors that the database names: one of ours, beside it."""
        text = name.decode(errors='replace')
        if not re.fullmatch(r'vectors-[0-9a-f]+\.f32', text):
            raise DataError(f'{self.folder} names the vectors {text!r}; build the index again.')
        return self.folder / text

    def _insert(self, records, start):
        marks = ', '.join('?' * (len(COLUMNS) + 1))
        self._db.executemany(
            f'INSERT OR REPLACE INTO rows VALUES ({marks})',
            ((start + i, *record.values()) for i, record in enumerate(records)),
        )
        self._changed()

    def _delete(self, keys):
        self._db.executemany('DELETE FROM rows WHERE key = ?', ((key,) for key in keys))
        self._changed()

    def _changed(self):
        self._write_state('stamp', secrets.token_hex(8).encode())

    def _array(self):
        """Returns the vectors, ``(rows, D)`` float32."""
        name = self._read_state('array')
        if name is None:
            return self._vectors if self._vectors is not None else np.zeros((0, self.dims), '<f4')
        last = self._sql('SELECT coalesce(max(row), -1) FROM rows').fetchone()[0]
        mapped = self._mapped[1] if self._mapped and self._mapped[0] == name else None
        if mapped is None or len(mapped.array) <= last:
            mapped = MappedRows(self._file(name), self.dims, self._memory)
            # one mapping at a time: each holds the pages that it was looked at through
            self._mapped = name, mapped
        if len(mapped.array) <= last:
            raise DataError(
                f'{self._file(name)} holds {len(mapped.array)} vectors, the index knows '
                f'{last + 1}; the file is truncated; build the index again.'
            )
        return mapped.array

    def _forget(self):
        if self._mapped is not None:
            self._mapped[1].forget()

    def _rows(self, where):
        """Returns the rows that meet a condition, ascending, int64."""
        if where is None and self._live is not None and self._live[0] == self._stamp():
            return self._live[1]
        sql = 'SELECT row FROM rows' + ('' if where is None else f' WHERE {to_sql(where)}')
        found = np.fromiter((row for (row,) in self._sql(sql)), np.int64)
        found.sort()
        if where is None:
            self._live = self._stamp(), found
        return found

    def candidates(
        self, query: np.ndarray, k: int, where: Condition | None = None
    ) -> tuple[list[str], np.ndarray]:
        with self._reading() as array:
            rows, query = self._rows(where), np.asarray(query, np.float32)
            products = [np.zeros(0, np.float32)]
            for part in _parts(rows):
                products.append(_block(array, part) @ query)
                self._forget()
            if len(rows) > k:
                # rounding may swap neighbours, so a few more are compared in float64
                order = np.argpartition(-np.concatenate(products), min(len(rows) - 1, k + 16))
                rows = rows[order[: k + 16]]
            keys = [key for _, key in self._rows_by('row', rows.tolist(), 'row, key')]
            vectors = np.array(array[rows]).reshape(-1, self.dims)
            self._forget()
            return keys, vectors

    def _rows_by(self, column, values, what):
        """Returns selected columns of the rows with one of the values, in the order of the
        values."""
        found, values = {}, list(values)
        for start in range(0, len(values), 500):
            part = values[start : start + 500]
            marks = ', '.join('?' * len(part))
            sql = f'SELECT {what} FROM rows WHERE {column} IN ({marks})'
            found.update((row[0], row) for row in self._sql(sql, part))
        return [found[value] for value in values if value in found]

    # the interface

    def is_exact(self, where: Condition | None = None) -> bool:
        return True

    def count(self, where: Condition | None = None) -> int:
        sql = 'SELECT count(*) FROM rows' + ('' if where is None else f' WHERE {to_sql(where)}')
        return self._sql(sql).fetchone()[0]

    def _known(self, keys):
        return [key for (key,) in self._rows_by('key', keys, 'key')]

    def fetch(self, keys: Sequence[str]) -> np.ndarray:
        with self._reading() as array:
            rows = self._rows_by('key', keys, 'key, row')
            if len(rows) < len(keys):
                raise KeyError((set(keys) - {key for key, _ in rows}).pop())
            order = np.array([row for _, row in rows], np.int64)
            vectors = np.array(array[order]).reshape(-1, self.dims)
            self._forget()
            return vectors

    def records(self, keys: Sequence[str]) -> list[Record]:
        columns = ', '.join(f'"{name}"' for name in COLUMNS)
        return [
            Record.from_values(dict(zip(COLUMNS, row)))
            for row in self._rows_by('key', keys, columns)
        ]

    def scan(self, where: Condition | None = None) -> Iterator[tuple[list[str], np.ndarray]]:
        with self._reading() as array:
            rows = self._rows(where)
            for part in _parts(rows):
                found = self._sql(
                    'SELECT row, key FROM rows WHERE row BETWEEN ? AND ? ORDER BY row',
                    (int(part[0]), int(part[-1])),
                ).fetchall()
                keys = dict(found)
                yield [keys[row] for row in part.tolist()], np.asarray(_block(array, part))
                self._forget()

    def files(self) -> dict[str, FileState]:
        states: dict[str, FileState] = {}
        sql = 'SELECT name, key, size, changed, digest FROM rows'
        for name, key, *state in self._sql(sql):
            if name in states:
                states[name].keys.append(key)
            else:
                states[name] = FileState([key], *state)
        return states

    def compact(self) -> None:
        with self._writing():
            old, rows, moments = self._read_state('array'), self._rows(None), self.moments()
            if old is None:
                return
            for path in self.folder.glob('vectors-*.f32'):
                if path.name != old.decode():  # a compaction that was killed left it
                    path.unlink()
            if len(rows) == len(self._array()):
                return
            name = f'vectors-{secrets.token_hex(4)}.f32'
            with atomic_write(self.folder / name) as file:
                for part in _parts(rows):
                    file.write(_block(self._array(), part).tobytes())
                    self._forget()
            # first to negative numbers, because a number may still belong to another row
            pairs = [(-1 - i, row) for i, row in enumerate(rows.tolist())]
            self._db.executemany('UPDATE rows SET row = ? WHERE row = ?', pairs)
            self._sql('UPDATE rows SET row = -1 - row')
            self._write_state('array', name.encode())
            self._changed()
            self._keep(moments, self._stamp())
        self._file(old).unlink(missing_ok=True)


def _parts(rows):
    """Ascending rows block by block of the file, so that few at once are in memory."""
    return np.split(rows, np.flatnonzero(np.diff(rows // _BLOCK)) + 1) if len(rows) else []


def _block(array, rows):
    """Returns rows of an array; a view if the rows are consecutive."""
    if rows[-1] - rows[0] + 1 == len(rows):
        return array[rows[0] : rows[-1] + 1]
    return array[rows]
