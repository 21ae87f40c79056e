"""An index in Milvus: a file for trials, a cluster for archives beyond one machine."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import logging
import re
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rs_mm.errors import ConfigError, MissingFileError

from .base import FileState, Index
from .filters import Condition, to_milvus
from .record import COLUMNS, INTEGERS, NUMBERS, PLAIN, Record

_TEXT = 4096  # bytes of a text field
_CHUNK = 60_000  # characters of a piece of state; a text field holds 65,535
_ROWS = 2000  # rows of a request
_MOST = 16_384 - 16  # results of a search, at most
_TIMEOUT = 10  # seconds for a server to answer


class MilvusIndex(Index):
    """A collection of Milvus and, beside it, one for what all back ends keep.

    ``milvus://FILE.db`` is Milvus Lite, which compares with every vector (FLAT) and is slow above
    some 30,000: it is for trials. ``milvus+http://HOST:19530`` is a server or cluster, where the
    index is HNSW. ``?collection=NAME`` chooses the collection.

    Args:
        target: a file, or ``http://HOST:PORT``.
        dims: see :class:`Index`.
        identity: see :class:`Index`.
        collection: name of the collection.
        token: ``USER:PASSWORD`` or key of a server.

    Raises:
        ConfigError: without pymilvus, or if the server does not answer.
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
    ) -> None:
        try:
            import pymilvus
        except ImportError as error:
            raise ConfigError(
                'an index milvus://… needs pymilvus: pip install "rs_mm[milvus]".'
            ) from error
        logging.getLogger('pymilvus').setLevel(logging.ERROR)
        self.remote = target.startswith('http')
        uri = f'milvus+{target}' if self.remote else f'milvus://{target}'
        if not re.fullmatch(r'[A-Za-z_]\w{0,200}', collection, re.ASCII):
            raise ConfigError(f'{uri}: a collection is named by letters, digits and "_".')
        if not self.remote:
            if dims is None and not Path(target).exists():
                raise MissingFileError(
                    f'there is no index {uri}; build one with tools/retrieval/build_index.py.'
                )
            Path(target).parent.mkdir(parents=True, exist_ok=True)
        try:
            self._client = pymilvus.MilvusClient(target, token=token, timeout=_TIMEOUT)
        except Exception as error:  # grpc, the client and the local server each have their own
            raise ConfigError(
                f'{uri} does not answer: {target} was tried for {_TIMEOUT} s '
                f'({_first_line(error)}); is the server running, and is the address right?'
                if self.remote
                else f'{uri} cannot be opened ({_first_line(error)}); does another process have it '
                'open?'
            ) from error
        self._rows, self._states = collection, f'{collection}_state'
        if not self._client.has_collection(self._rows):
            if dims is None:
                raise MissingFileError(
                    f'{uri} has no collection {collection}; build an index first.'
                )
            self._create(dims)
        for name in (self._rows, self._states):
            self._client.load_collection(name)
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
            index = self._client.prepare_index_params()
            # Lite's IVF returns a part of all similarities without a word
            kind = 'HNSW' if self.remote and name == self._rows else 'FLAT'
            settings = dict(M=32, efConstruction=200) if kind == 'HNSW' else {}
            index.add_index('vector', index_type=kind, metric_type='IP', params=settings)
            self._client.create_collection(
                name, schema=schema, index_params=index, consistency_level='Strong'
            )

    # state: texts in pieces, since a field holds 64 KiB

    def _read_state(self, name):
        found = self._client.query(
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
        old = self._client.query(
            self._states, filter=f'key like "{name}/%"', output_fields=['key'], limit=_MOST
        )
        rows = [(f'{name}/{token}/{i:05d}', piece) for i, piece in enumerate(pieces)]
        rows.append((f'{name}/count', f'{token} {len(pieces)}'))  # the last one makes it valid
        for key, piece in rows:
            row = dict(id=_id(key), key=key, content=piece, vector=[0.0, 0.0])
            self._client.upsert(self._states, [row])
        gone = [row['key'] for row in old if row['key'] != f'{name}/count']
        if gone:
            self._client.delete(self._states, ids=[_id(key) for key in gone])

    @contextlib.contextmanager
    def _writing(self):
        # a server has no lock: moments that miss another writer's rows are noticed by their count
        yield

    def _stamp(self):
        return (self._read_state('stamp') or b'').decode()

    # rows

    def _upsert(self, records, vectors):
        self._write_state('stamp', secrets.token_hex(8).encode())
        for start in range(0, len(records), _ROWS):
            self._client.upsert(
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
        self._write_state('stamp', secrets.token_hex(8).encode())
        for start in range(0, len(keys), _ROWS):
            self._client.delete(self._rows, ids=[_id(key) for key in keys[start : start + _ROWS]])

    def candidates(
        self, query: np.ndarray, k: int, where: Condition | None = None
    ) -> tuple[list[str], np.ndarray]:
        found = self._client.search(
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
        return not self.remote

    def count(self, where: Condition | None = None) -> int:
        found = self._client.query(
            self._rows, filter=_expression(where), output_fields=['count(*)']
        )
        return int(found[0]['count(*)'])

    def _selected(self, keys, columns):
        found = {}
        for start in range(0, len(keys), _ROWS):
            part = [_id(key) for key in keys[start : start + _ROWS]]
            rows = self._client.get(self._rows, ids=part, output_fields=columns)
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
        return [Record.of_values(found[key]) for key in keys if key in found]

    def _iterate(self, where, columns):
        rows = self._client.query_iterator(
            self._rows, filter=_expression(where), batch_size=_ROWS, output_fields=columns
        )
        try:
            while batch := rows.next():
                yield batch
        finally:
            rows.close()

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
    """A primary key without quotes: the client does not escape them where it asks by id."""
    return hashlib.sha256(key.encode()).hexdigest()


def _expression(where):
    return '' if where is None else to_milvus(where)


def _first_line(error):
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
