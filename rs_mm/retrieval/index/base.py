"""The interface of an index: vectors with metadata, searched by product.

A back end stores rows and finds the largest products. This module has the shared part: identity,
checks, moments, exact scans.
"""

from __future__ import annotations

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rs_mm.errors import ConfigError, DataError

from .filters import Condition
from .moments import Moments
from .record import Record

VERSION = 1
#: a filter that leaves no more records is searched exactly: an approximate index would lose some
FEW = 20_000


class Hits(NamedTuple):
    """Keys and their products with a query, float64, best first; ties by key."""

    keys: list[str]
    similarities: np.ndarray


class FileState(NamedTuple):
    """A file in the index: the keys of its records, and its size, time and digest."""

    keys: list[str]
    size: int
    changed: int
    digest: str


class Index(ABC):
    """An index of vectors ``(N, D)`` float32, each with a :class:`Record`.

    Args:
        uri: location of the index, as the user wrote it.
        dims: dimension of the vectors; needed for a new index.
        identity: model of the vectors: architecture, weights, preprocessing. None accepts the
            stored vectors of any model.

    Raises:
        ConfigError: the index has another model, dimension or version.
        MissingFileError: the index does not exist and ``dims`` is None.
    """

    name = ''
    #: largest number of results of one search
    most_candidates = 1 << 62

    def __init__(
        self, uri: str, dims: int | None = None, identity: dict[str, str] | None = None
    ) -> None:
        self.uri = uri
        stored = self._read_state('index.json')
        if stored is None:
            self.identity, self.dims = dict(identity or {}), int(dims)
            about = dict(version=VERSION, dims=self.dims, identity=self.identity)
            self._write_state('index.json', json.dumps(about).encode())
            return
        about = json.loads(stored)
        self.identity, self.dims = about.get('identity', {}), about.get('dims')
        if about.get('version') != VERSION:
            raise ConfigError(
                f'{uri}: the index has version {about.get("version")}, this program reads '
                f'{VERSION}; build it again.'
            )
        if dims is not None and dims != self.dims:
            raise ConfigError(
                f'{uri}: the index holds vectors of {self.dims} dimensions, the model makes '
                f'{dims}; use the model that built it, or another index.'
            )
        other = [key for key, value in (identity or {}).items() if self.identity.get(key) != value]
        if other:
            raise ConfigError(
                f'{uri}: another {" and ".join(other)} built this index; use the config and '
                'weights that built it, or another index.'
            )

    # methods of a back end

    @abstractmethod
    def _read_state(self, name: str) -> bytes | None:
        """Returns the content stored under a name, or None."""

    @abstractmethod
    def _write_state(self, name: str, content: bytes) -> None:
        """Stores content under a name, in one step."""

    @abstractmethod
    def _writing(self) -> contextlib.AbstractContextManager[str]:
        """Holds off other writers where that can be; gives the stamp of the rows so far."""

    @abstractmethod
    def _upsert(self, records: Sequence[Record], vectors: np.ndarray) -> None:
        """Adds rows, or replaces rows with the same key."""

    @abstractmethod
    def _delete(self, keys: Sequence[str]) -> None:
        """Removes rows."""

    @abstractmethod
    def _stamp(self) -> str:
        """A value that changes with the rows and shows whether stored moments are still valid."""

    @abstractmethod
    def candidates(
        self, query: np.ndarray, k: int, where: Condition | None = None
    ) -> tuple[list[str], np.ndarray]:
        """Finds at least the ``k`` records with the largest products with a query ``(D,)``, if
        there are ``k``.

        Returns:
            Their keys, in any order, and their vectors ``(n, D)`` float32.
        """

    @abstractmethod
    def is_exact(self, where: Condition | None = None) -> bool:
        """Whether a search is exact."""

    @abstractmethod
    def count(self, where: Condition | None = None) -> int:
        """Counts the records that meet a condition."""

    @abstractmethod
    def fetch(self, keys: Sequence[str]) -> np.ndarray:
        """Returns vectors ``(n, D)`` float32 of keys, in their order.

        Raises:
            KeyError: a key does not exist.
        """

    @abstractmethod
    def records(self, keys: Sequence[str]) -> list[Record]:
        """Returns the records of keys, in their order."""

    @abstractmethod
    def scan(self, where: Condition | None = None) -> Iterator[tuple[list[str], np.ndarray]]:
        """Yields keys and vectors of all records that meet a condition, block by block."""

    @abstractmethod
    def files(self) -> dict[str, FileState]:
        """Returns the files of the index by name."""

    def compact(self) -> None:  # noqa: B027  most back ends have nothing to do
        """Frees the space of removed rows and, if the back end has one, builds its index."""

    # methods of all back ends

    def __len__(self) -> int:
        return self.count()

    def noted(self, name: str) -> str:
        """What :meth:`note` has kept under a name; empty if nothing."""
        return (self._read_state(f'note:{name}') or b'').decode()

    def note(self, name: str, text: str) -> None:
        """Keeps a text with the index, for whoever brings it up to date."""
        if self.noted(name) != text:
            self._write_state(f'note:{name}', text.encode())

    def add(self, records: Sequence[Record], vectors: np.ndarray) -> None:
        """Adds vectors ``(n, D)`` with their records; records with existing keys are replaced.

        Raises:
            DataError: a vector is not finite, two keys are equal, or shapes differ.
        """
        vectors = np.ascontiguousarray(vectors, np.float32)
        if vectors.shape != (len(records), self.dims):
            raise DataError(
                f'{self.uri}: {len(records)} records came with vectors of shape {vectors.shape}; '
                f'expected {(len(records), self.dims)}.'
            )
        broken = np.flatnonzero(~np.isfinite(vectors).all(1))
        if len(broken):
            raise DataError(
                f'{self.uri}: the vector of {records[broken[0]].key} is NaN or infinite; did the '
                'training diverge, or is the image empty?'
            )
        keys = [record.key for record in records]
        if len(set(keys)) < len(keys):
            raise DataError(f'{self.uri}: two records have the key {_twice(keys)}.')
        with self._writing() as stamp:
            moments = self._kept(stamp) or self._summed(None)
            moments.update(self.fetch(self._known(keys)), -1)
            self._upsert(records, vectors)
            moments.update(vectors)
            self._keep(moments, self._stamp())

    def remove(self, keys: Sequence[str]) -> None:
        """Removes records; unknown keys are ignored."""
        with self._writing() as stamp:
            keys, moments = self._known(keys), self._kept(stamp) or self._summed(None)
            moments.update(self.fetch(keys), -1)
            self._delete(keys)
            self._keep(moments, self._stamp())

    @abstractmethod
    def _known(self, keys: Sequence[str]) -> list[str]:
        """Returns the keys that are in the index."""

    def search(self, query: np.ndarray, k: int, where: Condition | None = None) -> Hits:
        """Finds the ``k`` records with the largest products with a query ``(D,)``.

        The products of the back end are computed again in float64.
        """
        keys, vectors = self.candidates(query, k, where)
        return best(keys, vectors.astype(np.float64) @ np.asarray(query, np.float64), k)

    def _scan_candidates(self, query, k, where):
        """See :meth:`candidates`; compares with every record that meets the condition."""
        query, keys, kept = np.asarray(query, np.float64), np.zeros(0, object), None
        for block, vectors in self.scan(where):
            keys = np.concatenate([keys, np.array(block, object)])
            kept = vectors if kept is None else np.concatenate([kept, vectors])
            if len(keys) > k:
                chosen = np.argpartition(-(kept.astype(np.float64) @ query), k - 1)[:k]
                keys, kept = keys[chosen], kept[chosen]
        return keys.tolist(), np.zeros((0, self.dims), np.float32) if kept is None else kept

    def sample(self, count: int, where: Condition | None = None) -> np.ndarray:
        """Returns at most ``count`` vectors, spread over the records that meet a condition."""
        total = self.count(where)
        wanted = np.linspace(0, total - 1, min(count, total)).round().astype(np.int64)
        found, start = [], 0
        for _, vectors in self.scan(where):
            inside = wanted[(wanted >= start) & (wanted < start + len(vectors))]
            found.append(vectors[inside - start])
            start += len(vectors)
        return np.concatenate(found) if found else np.zeros((0, self.dims), np.float32)

    def moments(self, where: Condition | None = None) -> Moments:
        """Returns count, mean and covariance of the records that meet a condition."""
        stamp = self._stamp()
        kept = self._kept(stamp) if where is None else None
        if kept is not None:
            return kept
        moments = self._summed(where)
        if where is None and moments.count:
            self._keep(moments, stamp)  # that of before: what changed meanwhile makes them untrue
        return moments

    def _summed(self, where):
        moments = Moments.empty(self.dims)
        for _, vectors in self.scan(where):
            moments.update(vectors)
        return moments

    def _kept(self, stamp):
        """The stored moments, if they are those of the rows with this stamp."""
        of, _, content = (self._read_state('moments') or b'').partition(b'\n')
        return Moments.of_bytes(content) if content and of.decode() == stamp else None

    def _keep(self, moments, stamp):
        self._write_state('moments', f'{stamp}\n'.encode() + moments.to_bytes())


def best(keys: Sequence[str], scores: np.ndarray, k: int) -> Hits:
    """Returns the ``k`` highest scores, ties by ascending key; scores are rounded to 12 decimals.

    Without rounding, the last bit of a product depends on the number of rows in the multiplication,
    and equal vectors would have different scores.
    """
    scores = np.round(scores, 12)
    order = np.lexsort((np.array(keys, dtype=object).astype(str), -scores))[:k] if keys else []
    return Hits([keys[i] for i in order], scores[order] if len(order) else np.zeros(0))


def _twice(keys):
    seen = set()
    return next(key for key in keys if key in seen or seen.add(key))
