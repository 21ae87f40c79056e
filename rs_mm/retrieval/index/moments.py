"""Count, mean and covariance of an archive, which give the mean and deviation of any similarity."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

_BLOCK = 4096


@dataclass
class Moments:
    """The sums n, sum x and sum xx' of vectors in float64, which are updated when vectors change.

    The similarities of a query q to the archive have the mean q.m and the variance q'Cq, with the
    archive's mean m and (unbiased) covariance C.

    Attributes:
        count: number of vectors.
        total: ``(D,)`` sum of the vectors.
        products: ``(D, D)`` sum of their outer products.
    """

    count: int
    total: np.ndarray
    products: np.ndarray

    @classmethod
    def empty(cls, dims: int) -> Moments:
        """Returns the moments of an empty archive."""
        return cls(0, np.zeros(dims), np.zeros((dims, dims)))

    def update(self, vectors: np.ndarray, sign: int = 1) -> None:
        """Adds ``(n, D)`` vectors, or removes them with ``sign=-1``."""
        for start in range(0, len(vectors), _BLOCK):
            block = np.asarray(vectors[start : start + _BLOCK], np.float64)
            self.total += sign * block.sum(0)
            self.products += sign * (block.T @ block)
        self.count += sign * len(vectors)

    @property
    def mean(self) -> np.ndarray:
        """The ``(D,)`` mean of the vectors."""
        return self.total / max(self.count, 1)

    def of_similarity(self, query: np.ndarray) -> tuple[float, float]:
        """Returns mean and (unbiased) standard deviation of the products with a query ``(D,)``."""
        query = np.asarray(query, np.float64)
        mean = float(query @ self.mean)
        if self.count < 2:
            return mean, 0.0
        squares = float(query @ self.products @ query)
        return mean, max(0.0, (squares - self.count * mean**2) / (self.count - 1)) ** 0.5

    def to_bytes(self) -> bytes:
        """Returns the moments as the bytes of an ``.npz`` file."""
        buffer = io.BytesIO()
        np.savez(buffer, count=self.count, total=self.total, products=self.products)
        return buffer.getvalue()

    @classmethod
    def of_bytes(cls, content: bytes) -> Moments:
        """The inverse of :meth:`to_bytes`."""
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return cls(int(stored['count']), stored['total'], stored['products'])
