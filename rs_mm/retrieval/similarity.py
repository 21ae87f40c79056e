"""Cosine similarity between normalised vectors, in chunks of queries."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rs_mm.errors import DataError


def normalized(vectors: Tensor, what: str = 'embeddings') -> Tensor:
    """L2-normalises (N, D) float vectors; a zero vector stays zero.

    Raises:
        DataError: there is no vector, or one is not finite; ``what`` names the vectors in the
            message.
    """
    if vectors.ndim != 2 or not len(vectors):
        raise DataError(
            f'{what}: expected vectors (N, D) with N > 0, got a tensor of shape '
            f'{tuple(vectors.shape)}.'
        )
    lengths = vectors.float().norm(dim=1)
    broken = (~lengths.isfinite()).nonzero().flatten()
    if len(broken):
        raise DataError(
            f'{what}: {len(broken)} of {len(vectors)} are NaN or infinite, first '
            f'number {int(broken[0])}; did the training diverge, or is an image '
            'empty?'
        )
    return vectors.float() / lengths.clamp(min=1e-12)[:, None]


def check_finite(vectors: Tensor, names: Sequence[str | int], what: str = 'image') -> None:
    """Refuses (N, D) embeddings that are NaN or infinite.

    Args:
        vectors: (N, D).
        names: N names of the images or texts, for the message.
        what: their kind.

    Raises:
        DataError: an embedding is NaN or infinite; the message names the first one.
    """
    broken = (~vectors.isfinite().all(1)).nonzero().flatten()
    if len(broken):
        raise DataError(
            f'the embedding of {what} {names[int(broken[0])]!r} is NaN or infinite, '
            f'as {len(broken)} of {len(vectors)} are; are the weights damaged, did '
            f'their training diverge, or is the {what} empty?'
        )


class CosineScores:
    """The scores of a slice of the queries for the whole database.

    Args:
        queries: (Q, D) normalised.
        database: (N, D) normalised.
    """

    def __init__(self, queries: Tensor, database: Tensor) -> None:
        self.queries = queries
        self.database = database

    def __len__(self) -> int:
        return len(self.queries)

    def __call__(self, start: int, stop: int) -> Tensor:
        """Returns (stop - start, N) float32; larger is more similar."""
        return torch.mm(self.queries[start:stop], self.database.t())
