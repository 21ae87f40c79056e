"""Patches in an LMDB: a reader that works with workers and forks, and a writer.

Keys are patch names, values are records (``records.py``). The key ``__meta__`` holds JSON:
``format``, ``version`` (of the records) and ``complete`` (whether the conversion is finished).
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import lmdb
import numpy as np

from rs_mm.errors import DataError, MissingFileError

from .records import VERSION, stated_checksum, unpack_record

FORMAT = 'rs_mm-bigearthnet'
META_KEY = b'__meta__'

# LMDB allows one environment per file and process; datasets of several splits share it
_OPEN: dict[str, tuple[int, lmdb.Environment, lmdb.Transaction]] = {}
_NEEDED: WeakKeyDictionary[lmdb.Environment, int] = WeakKeyDictionary()


def _transaction(path: str) -> lmdb.Transaction:
    """The read transaction of a process on a real path; a forked child opens its own."""
    if path in _OPEN and _OPEN[path][0] != os.getpid():
        close_reader(path)
    if path not in _OPEN:
        env = open_readonly(path)
        _OPEN[path] = os.getpid(), env, env.begin(buffers=True)
    # a file that is cut while it is open would also end the process; the check takes 2 us per patch
    env = _OPEN[path][1]
    _check_size(Path(path) / 'data.mdb', env)
    return _OPEN[path][2]


def close_reader(path: str) -> None:
    """Closes this process's reader of ``path``; needed before the file is written again."""
    _, env, transaction = _OPEN.pop(os.path.realpath(path), (None, None, None))
    if env is not None:
        transaction.abort()
        env.close()


def open_readonly(path: str) -> lmdb.Environment:
    """Opens an LMDB folder for reading, after a check that it exists and is complete."""
    file = Path(path) / 'data.mdb'
    if Path(path).is_file():
        raise DataError(f'{path} is a file of an LMDB; name the folder that holds it.')
    if not file.is_file():
        raise MissingFileError(
            f'{path}: no LMDB (data.mdb) there; make it with '
            '`python tools/dataset_converters/bigearthnet_to_lmdb.py`.'
        )
    try:
        # readahead off: samples are drawn at random; lock off: nobody writes at the same time
        env = lmdb.open(path, readonly=True, lock=False, readahead=False, create=False)
    except lmdb.Error as error:
        raise DataError(
            f'{path}: not a readable LMDB ({error}); convert the data again.'
        ) from error
    try:
        _check_size(file, env)
    except DataError:
        env.close()
        raise
    return env


def _check_size(file, env):
    """Refuses a truncated file: reading a page beyond its end would kill the process (SIGBUS)."""
    needed = _NEEDED.get(env)
    if needed is None:
        needed = _NEEDED[env] = (env.info()['last_pgno'] + 1) * env.stat()['psize']
    try:
        size = os.stat(file).st_size
    except OSError as error:
        raise MissingFileError(f'{file}: can no longer be reached: {error.strerror}.') from error
    if size < needed:
        raise DataError(
            f'{file}: truncated: {size} bytes of {needed}; copy or convert the data again.'
        )


def read_transaction(root: str | Path) -> lmdb.Transaction:
    """Returns the read transaction that all readers of an LMDB share in this process.

    A process can open an LMDB only once; a fork gets its own transaction.

    Raises:
        MissingFileError, DataError: see :func:`open_readonly`.
    """
    return _transaction(os.path.realpath(root))


class PatchReader:
    """Reads patches of an LMDB made by ``bigearthnet_to_lmdb.py``.

    Nothing is opened before the first read, and a reader can be pickled and used after a fork:
    every process opens the file itself.

    Args:
        path: folder of the LMDB.

    Raises:
        MissingFileError: there is no LMDB.
        DataError: on first use, the LMDB is damaged, truncated, unfinished, or of another layout
            version.
    """

    def __init__(self, path: str) -> None:
        self.path = str(path)
        self._real_path: str | None = None  # set after the LMDB has been checked

    def __getstate__(self):
        return dict(path=self.path, _real_path=None)

    def _begin(self) -> lmdb.Transaction:
        if self._real_path is None:
            # looked up once, because a look-up takes as long as reading a patch
            real_path = os.path.realpath(self.path)
            _check_meta(self.path, _transaction(real_path))
            self._real_path = real_path
        return _transaction(self._real_path)

    def __contains__(self, name: str) -> bool:
        return self._begin().get(name.encode()) is not None

    def read(self, name: str, check: bool = True) -> dict[str, np.ndarray]:
        """Returns views of the arrays of a patch in the mapped file, read-only and without a copy.

        Args:
            name: patch name.
            check: compare the checksum, too: 0.04 ms for 160 kB.

        Raises:
            DataError: there is no patch of this name, or its record is damaged.
        """
        return unpack_record(self._value(name), f'{self.path}, patch {name}', check)

    def _value(self, name):
        try:
            value = self._begin().get(name.encode())
        except lmdb.Error as error:
            raise DataError(
                f'{self.path}, patch {name}: cannot be read ({error}); convert the data again.'
            ) from error
        if value is None:
            raise DataError(f'{self.path}: holds no patch {name!r}.')
        return value

    def checksum(self, name: str) -> int:
        """Returns the checksum in the header of a patch's record."""
        return stated_checksum(self._value(name))

    def stamp(self, name: str) -> tuple[int, int]:
        """Returns size in bytes and stated checksum of a patch's record; (-1, -1) without a
        complete header.

        Records with equal stamps have equal content, also in different LMDBs.
        """
        try:
            value = self._value(name)
            return len(value), stated_checksum(value)
        except (DataError, struct.error):
            return -1, -1

    def names(self) -> list[str]:
        """Returns all patch names, sorted."""
        keys = self._begin().cursor().iternext(keys=True, values=False)
        return [bytes(key).decode() for key in keys if bytes(key) != META_KEY]

    def missing(self, names: Iterable[str]) -> list[str]:
        """Returns the ``names`` that are not in the LMDB."""
        return [name for name in names if name not in self]


def _check_meta(path, transaction):
    value = transaction.get(META_KEY)
    if value is None:
        raise DataError(
            f'{path}: this LMDB has {_layout(transaction)}; convert it with '
            '`python tools/dataset_converters/bigearthnet_to_lmdb.py`.'
        )
    try:
        meta = dict(json.loads(bytes(value)))
    except (ValueError, TypeError) as error:
        raise DataError(f'{path}: its record {META_KEY!r} is damaged; convert again.') from error
    if meta.get('format') != FORMAT or meta.get('version') != VERSION:
        raise DataError(
            f'{path}: layout {meta.get("format")!r} version {meta.get("version")!r}, '
            f'this rs_mm reads {FORMAT!r} version {VERSION}; convert the data again.'
        )
    if not meta.get('complete'):
        raise DataError(
            f'{path}: the conversion was not finished; run the same '
            'bigearthnet_to_lmdb.py command again, it continues where it stopped.'
        )


def _layout(transaction):
    from .safetensors_lmdb import is_safetensors

    if transaction.get(b'__len__') is not None:
        return 'the layout of the original OML code'
    cursor = transaction.cursor()
    if cursor.first() and is_safetensors(bytes(cursor.value()[:16])):
        return 'the layout of rico-hdl and reBEN (safetensors)'
    return 'an unknown layout'


class PatchWriter:
    """A writer of an LMDB whose map grows automatically; committed records survive a kill.

    Use as a context manager. An existing LMDB is continued.

    Args:
        path: folder; it is created if needed.
        map_size: initial size of the map in bytes; doubled whenever it is full.
    """

    def __init__(self, path: str, map_size: int = 1 << 28) -> None:
        Path(path).mkdir(parents=True, exist_ok=True)
        close_reader(path)
        file = Path(path) / 'data.mdb'
        size = file.stat().st_size if file.exists() else 0
        map_size = max(map_size, 2 * size) // 4096 * 4096
        try:
            self.env = lmdb.open(str(path), map_size=map_size, readahead=False, meminit=False)
        except lmdb.Error as error:
            raise DataError(
                f'{path}: cannot be continued ({error}); remove it and convert again.'
            ) from error
        self.file = file
        meta = self._get(META_KEY)
        if meta is None and self.env.stat()['entries']:
            self.env.close()
            raise DataError(f'{path}: holds an LMDB of another program; choose another folder.')
        if meta is not None and json.loads(meta).get('version') != VERSION:
            self.env.close()
            raise DataError(
                f'{path}: holds records of layout version '
                f'{json.loads(meta).get("version")}, this rs_mm writes {VERSION}; '
                'choose another folder.'
            )
        self.set_complete(False)

    def __enter__(self) -> PatchWriter:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _get(self, key):
        with self.env.begin() as transaction:
            return transaction.get(key)

    def present(self) -> set[str]:
        """Returns the names of the patches that are already written."""
        with self.env.begin() as transaction:
            keys = transaction.cursor().iternext(keys=True, values=False)
            return {key.decode() for key in keys if key != META_KEY}

    def put(self, items: Iterable[tuple[str, bytes]]) -> None:
        """Writes (name, record) pairs in one transaction: all of them or, after a kill, none."""
        self._commit([(name.encode(), record) for name, record in items])

    def drop(self, names: Iterable[str]) -> None:
        """Deletes patches; unknown names are ignored."""
        self._commit([(name.encode(), None) for name in names])

    def set_complete(self, complete: bool) -> None:
        """Marks the conversion as finished or unfinished."""
        meta = dict(format=FORMAT, version=VERSION, complete=complete)
        self._commit([(META_KEY, json.dumps(meta).encode())])

    def _commit(self, items):
        while True:
            try:
                with self.env.begin(write=True) as transaction:
                    for key, value in items:
                        if value is None:
                            transaction.delete(key)
                        else:
                            transaction.put(key, value)
                return
            except lmdb.MapFullError:
                self.env.set_mapsize(2 * self.env.info()['map_size'])

    def close(self) -> None:
        """Closes the file; readers may open it afterwards."""
        info, page = self.env.info(), self.env.stat()['psize']
        self.env.close()
        # LMDB may leave its last, unused pages unwritten; readers take a short file for truncated
        needed = (info['last_pgno'] + 1) * page
        if self.file.stat().st_size < needed:
            os.truncate(self.file, needed)
