"""An index in Milvus: a file for trials, a cluster for archives beyond one machine."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import re
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rs_mm.errors import ConfigError, MissingFileError

from .base import FEW, FileState, Index
from .filters import Condition, to_milvus
from .milvus_client import ANSWER, MilvusConnection
from .record import COLUMNS, INTEGERS, NUMBERS, PLAIN, Record

_TEXT = 4096  # bytes of a text field
_CHUNK = 60_000  # characters of a piece of state; a text field holds 65,535
_ROWS = 2000  # rows of a request
_PIECES = 64  # pieces of a request
_MOST = 16_384 - 16  # results of a search, at most


class MilvusIndex(Index):
    """An index in a collection of Milvus, with a second collection for the state of the index.

    ``milvus://FILE.db`` is Milvus Lite, for trials: it compares with every vector (FLAT) and is
    slow above about 30,000. ``milvus+http://HOST:19530`` is a server or cluster, where the index is
    HNSW. ``?collection=NAME`` chooses the collection.

    Args:
        target: a file, or ``http://HOST:PORT``.
        dims: see :class:`Index`.
        identity: see :class:`Index`.
        collection: name of the collection.
        token: ``USER:PASSWORD`` or key of a server.
        timeout: seconds for a server to answer a request.

    Raises:
        ConfigError: pymilvus is not installed, or the server does not answer.
    """

    name = 'milvus'
    most_candidates = _MOST

    def __init__(
        self,
        target: str,
        dims: int | None = None,
        identity: dict[str, str] | None = None,
        collection: str = 'rs_mm',
        token: str = '',
        timeout: float = ANSWER,
    ) -> None:
        self.remote = target.startswith('http')
        uri = f'milvus+{target}' if self.remote else f'milvus://{target}'
        if not re.fullmatch(r'[A-Za-z_]\w{0,200}', collection, re.ASCII):
            raise ConfigError(f'{uri}: the name of a collection has letters, digits and "_".')
        if not self.remote:
            if dims is None and not Path(target).exists():
                raise MissingFileError(
                    f'there is no index {uri}; build one with tools/retrieval/build_index.py.'
                )
            Path(target).parent.mkdir(parents=True, exist_ok=True)
        self._milvus = MilvusConnection(target, uri, token, timeout)
        self._rows, self._states = collection, f'{collection}_state'
        self._own: str | None = None  # stamp of what is being written
        if not self._milvus.ask('has_collection', self._rows):
            if dims is None:
                raise MissingFileError(
                    f'there is no index {uri}?collection={collection}; build one with '
                    'tools/retrieval/build_index.py.'
                )
            self._create(dims)
        for name in (self._rows, self._states):
            self._milvus.ask('load_collection', name)
        super().__init__(uri, dims, identity)

    def _create(self, dims):
        from pymilvus import DataType, MilvusClient

        for name, size in ((self._states, 2), (self._rows, dims)):
            schema = MilvusClient.create_schema(auto_id=False)
            schema.add_field('id', DataType.VARCHAR, is_primary=True, max_length=64)
            schema.add_field('key', DataType.VARCHAR, max_length=_TEXT)
            if name == self._states:
                schema.add_field('content', DataType.VARCHAR, max_length=65_535)
            else:
                _add_fields(schema, DataType)
            schema.add_field('vector', DataType.FLOAT_VECTOR, dim=size)
            index = MilvusClient.prepare_index_params()
            # Lite's IVF returns incomplete results without a message
            kind = 'HNSW' if self.remote and name == self._rows else 'FLAT'
            settings = dict(M=32, efConstruction=200) if kind == 'HNSW' else {}
            index.add_index('vector', index_type=kind, metric_type='IP', params=settings)
            self._milvus.ask(
                'create_collection',
                name,
                schema=schema,
                index_params=index,
                consistency_level='Strong',
            )

    # state: texts in pieces, because a field holds 64 KiB

    def _read_state(self, name):
        found = self._milvus.ask(
            'query',
            self._states,
            filter=f'key like "{name}/%"',
            output_fields=['key', 'content'],
            limit=_MOST,
        )
        pieces = {row['key']: row['content'] for row in found}
        count = pieces.get(f'{name}/count')
        if count is None:
            return None
        token, _, count = count.partition(' ')
        wanted = [f'{name}/{token}/{i:05d}' for i in range(int(count))]
        if any(key not in pieces for key in wanted):
            return None  # another process is replacing it
        return base64.b64decode(''.join(pieces[key] for key in wanted))

    def _write_state(self, name, content):
        text, token = base64.b64encode(content).decode(), secrets.token_hex(4)
        pieces = [text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK)]
        old = self._milvus.ask(
            'query', self._states, filter=f'key like "{name}/%"', output_fields=['key'], limit=_MOST
        )
        rows = [(f'{name}/{token}/{i:05d}', piece) for i, piece in enumerate(pieces)]
        rows.append((f'{name}/count', f'{token} {len(pieces)}'))
        entries = [dict(id=_id(k), key=k, content=text, vector=[0.0, 0.0]) for k, text in rows]
        for start in range(0, len(pieces), _PIECES):
            part = entries[start : min(start + _PIECES, len(pieces))]
            self._milvus.ask('upsert', self._states, part)
        self._milvus.ask('upsert', self._states, entries[-1:])  # the last piece makes it valid
        gone = [row['key'] for row in old if row['key'] != f'{name}/count']
        if gone:
            self._milvus.ask('delete', self._states, ids=[_id(key) for key in gone])

    @contextlib.contextmanager
    def _writing(self):
        """A server has no lock, so that others may write at the same time.

        A stamp is set before the rows are touched and another one afterwards; the moments hold for
        the second one. It is not set where somebody else has set one in between. So a writer that
        was overtaken, or killed, leaves moments that nobody takes for true.
        """
        before, own = self._stamp(), secrets.token_hex(8)
        self._write_state('stamp', own.encode())
        self._own = own
        try:
            yield before
        finally:
            self._own = None
            after = f'{own}-done' if self._stamp() == own else secrets.token_hex(8)
            self._write_state('stamp', after.encode())

    def _stamp(self):
        return (self._read_state('stamp') or b'').decode()

    def _keep(self, moments, stamp):
        super()._keep(moments, stamp if self._own is None else f'{self._own}-done')

    # rows

    def _upsert(self, records, vectors):
        for start in range(0, len(records), _ROWS):
            self._milvus.ask(
                'upsert',
                self._rows,
                [
                    {
                        **dict(zip(COLUMNS[:-1], record.values())),
                        'id': _id(record.key),
                        'labels': list(record.labels),
                        'vector': vector,
                    }
                    for record, vector in zip(
                        records[start : start + _ROWS], vectors[start : start + _ROWS]
                    )
                ],
            )

    def _delete(self, keys):
        for start in range(0, len(keys), _ROWS):
            self._milvus.ask(
                'delete', self._rows, ids=[_id(key) for key in keys[start : start + _ROWS]]
            )

    def candidates(
        self, query: np.ndarray, k: int, where: Condition | None = None
    ) -> tuple[list[str], np.ndarray]:
        if self.remote and self.is_exact(where):
            return self._scan_candidates(query, k, where)
        found = self._milvus.ask(
            'search',
            self._rows,
            data=[np.asarray(query, np.float32).tolist()],
            limit=min(k, _MOST) + 16,
            filter=_expression(where),
            search_params=dict(
                metric_type='IP', params=dict(ef=max(256, 2 * k)) if self.remote else {}
            ),
            output_fields=['key', 'vector'],
        )[0]
        vectors = np.array([hit['entity']['vector'] for hit in found], np.float32)
        return [hit['key'] for hit in found], vectors.reshape(-1, self.dims)

    # the interface

    def is_exact(self, where: Condition | None = None) -> bool:
        return not self.remote or (where is not None and self.count(where) <= FEW)

    def count(self, where: Condition | None = None) -> int:
        found = self._milvus.ask(
            'query', self._rows, filter=_expression(where), output_fields=['count(*)']
        )
        return int(found[0]['count(*)'])

    def _selected(self, keys, columns):
        found = {}
        for start in range(0, len(keys), _ROWS):
            part = [_id(key) for key in keys[start : start + _ROWS]]
            rows = self._milvus.ask('get', self._rows, ids=part, output_fields=columns)
            found.update((row['key'], row) for row in rows)
        return found

    def _known(self, keys):
        found = self._selected(keys, ['key'])
        return [key for key in keys if key in found]

    def fetch(self, keys: Sequence[str]) -> np.ndarray:
        found = self._selected(keys, ['key', 'vector'])
        vectors = [found[key]['vector'] for key in keys]
        return np.array(vectors, np.float32).reshape(-1, self.dims)

    def records(self, keys: Sequence[str]) -> list[Record]:
        found = self._selected(keys, ['key', *PLAIN, 'labels'])
        return [Record.from_values(found[key]) for key in keys if key in found]

    def _iterate(self, where, columns):
        return self._milvus.iterate(
            self._rows, filter=_expression(where), batch_size=_ROWS, output_fields=columns
        )

    def scan(self, where: Condition | None = None) -> Iterator[tuple[list[str], np.ndarray]]:
        for batch in self._iterate(where, ['key', 'vector']):
            yield [row['key'] for row in batch], np.array([r['vector'] for r in batch], np.float32)

    def files(self) -> dict[str, FileState]:
        states: dict[str, FileState] = {}
        for batch in self._iterate(None, ['key', 'name', 'size', 'changed', 'digest']):
            for row in batch:
                if row['name'] in states:
                    states[row['name']].keys.append(row['key'])
                else:
                    states[row['name']] = FileState(
                        [row['key']], row['size'], row['changed'], row['digest']
                    )
        return states


def _add_fields(schema, types):
    for name in PLAIN:
        if name in INTEGERS:
            schema.add_field(name, types.INT64)
        elif name in NUMBERS:
            schema.add_field(name, types.DOUBLE)
        else:
            schema.add_field(name, types.VARCHAR, max_length=_TEXT)
    schema.add_field(
        'labels', types.ARRAY, element_type=types.VARCHAR, max_capacity=256, max_length=512
    )


def _id(key):
    """Returns a primary key without quotes, because the client does not escape them in requests by
    id."""
    return hashlib.sha256(key.encode()).hexdigest()


def _expression(where):
    return '' if where is None else to_milvus(where)
