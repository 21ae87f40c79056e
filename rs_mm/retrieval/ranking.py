"""Stable ranking of scores with a small payload.

A score and its payload become one 64-bit integer. The upper half is the score, so the order of the
integers is the ranking. The lower half is position and payload, so ties keep ascending positions
and nothing is gathered afterwards. One plain sort is enough.
"""

from __future__ import annotations

import torch
from torch import Tensor

_PAYLOAD_BITS = 7
MAX_DATABASE = 1 << (31 - _PAYLOAD_BITS)


def rank(scores: Tensor, k: int | None = None) -> tuple[Tensor, Tensor]:
    """Ranks (Q, N) scores, best first, ties by ascending position.

    Args:
        scores: float32, or int32 whose smaller values are better.
        k: number of places to return; None: all.

    Returns:
        positions (Q, k) int64 and their scores (Q, k) of the dtype given.
    """
    ranking = Ranking(scores)
    k = scores.shape[1] if k is None else k
    return ranking.positions(k), ranking.scores(k)


class Ranking:
    """Rows of scores, sorted best first, with a payload for each place.

    Args:
        scores: (Q, N) float32, larger is better, or int32, smaller is better.
        payload: (Q, N) uint8 below 128, or None.
    """

    def __init__(self, scores: Tensor, payload: Tensor | None = None) -> None:
        count, size = scores.shape
        if size > MAX_DATABASE:
            raise ValueError(
                f'a database of {size} images is larger than a ranking can hold '
                f'({MAX_DATABASE}); search it in parts'
            )
        self._is_float = scores.dtype == torch.float32
        keys = torch.empty(count, size, dtype=torch.int64, device=scores.device)
        halves = keys.view(torch.int32).view(count, size, 2)  # little endian: lower half first
        halves[..., 1] = _descending(scores) if self._is_float else scores
        positions = torch.arange(size, dtype=torch.int32, device=scores.device) << _PAYLOAD_BITS
        halves[..., 0] = positions if payload is None else positions | payload
        self._halves = _sorted(keys).view(torch.int32).view(count, size, 2)

    def payload(self, k: int | None = None) -> Tensor:
        """(Q, k) uint8, best place first."""
        return self._halves[:, :k, 0].to(torch.uint8) & ((1 << _PAYLOAD_BITS) - 1)

    def positions(self, k: int | None = None) -> Tensor:
        """(Q, k) int64 positions in the database."""
        return (self._halves[:, :k, 0] >> _PAYLOAD_BITS).long()

    def scores(self, k: int | None = None) -> Tensor:
        """(Q, k) scores as they were given."""
        scores = self._halves[:, :k, 1]
        return _from_descending(scores) if self._is_float else scores.clone()


def _descending(scores):
    """Maps float32 to int32 in the opposite order (IEEE 754: magnitudes compare like integers)."""
    bits = (scores + 0.0).view(torch.int32)  # -0.0 becomes 0.0
    return ((bits >> 31).bitwise_and_(0x7FFFFFFF)).bitwise_xor_(bits).bitwise_not_()


def _from_descending(codes):
    bits = codes.bitwise_not()
    return (bits ^ ((bits >> 31) & 0x7FFFFFFF)).contiguous().view(torch.float32)


def _sorted(keys):
    if keys.is_cuda:
        return keys.sort(dim=1).values
    # numpy sorts integers in place with vector instructions; torch would also compute indices
    keys.numpy().sort(axis=1)
    return keys
