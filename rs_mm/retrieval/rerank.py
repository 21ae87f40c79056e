"""Re-ranking: query expansion, and expansion of the best match by label affinity.

A re-ranker is called with the normalised vectors, the labels of the database and the best images of
the plain ranking. It returns new scores in the form that :func:`evaluate` takes.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rs_mm.errors import ConfigError

from .label_similarity import shared_labels
from .parts import part
from .similarity import CosineScores


@part
class AverageQE:
    """Average query expansion (Chum et al. 2007): the query plus the sum of its best k images,
    normalised.

    Args:
        k: number of images to add.
        name: prefix of its results.
    """

    def __init__(self, k: int = 10, name: str | None = None) -> None:
        if k < 1:
            raise ConfigError(
                f'{type(self).__name__}: k is {k}; it is the number of images to add, 1 or more.'
            )
        self.k = k
        self.name = name or f'qe{k}'

    def __call__(
        self,
        queries: Tensor,
        database: Tensor,
        database_labels: Tensor,
        positions: Tensor,
        scores: Tensor,
    ) -> CosineScores:
        """Computes the scores of the expanded queries.

        Args:
            queries: (Q, D) normalised.
            database: (N, D) normalised.
            database_labels: (N, L) of 0 and 1.
            positions: (Q, >= k) best images of the plain ranking.
            scores: (Q, >= k) their similarities.
        """
        return CosineScores(self.expand(queries, database, positions, scores), database)

    def expand(
        self, queries: Tensor, database: Tensor, positions: Tensor, scores: Tensor
    ) -> Tensor:
        """Returns the expanded, normalised queries (Q, D)."""
        if self.k > len(database):
            raise ConfigError(
                f'{type(self).__name__}: k is {self.k}, but the database holds '
                f'{len(database)} images; use a smaller k.'
            )
        weights = self.weights(scores[:, : self.k])
        # gathers, weighs and sums in one pass; k gathers of (Q, D) take seven times as long
        expanded = F.embedding_bag(
            positions[:, : self.k], database, per_sample_weights=weights, mode='sum'
        )
        expanded += queries
        return expanded.div_(torch.linalg.vector_norm(expanded, dim=1, keepdim=True))

    def weights(self, scores: Tensor) -> Tensor:
        """Returns the weight of each added image, (Q, k)."""
        return torch.ones_like(scores)


@part
class AlphaQE(AverageQE):
    """Alpha query expansion (Radenovic et al. 2018): images weigh similarity to the power alpha.

    A negative similarity counts as 0; the original turns it into NaN for a fractional alpha.

    Args:
        k: number of images to add.
        alpha: the power, 0 or more.
        name: prefix of its results.
    """

    def __init__(self, k: int = 10, alpha: float = 1.0, name: str | None = None) -> None:
        super().__init__(k, name or f'aqe{k}_a{alpha:g}')
        if not alpha >= 0:
            raise ConfigError(
                f'AlphaQE: alpha is {alpha}; a negative power would give the least '
                'similar image the largest weight: use 0 or more.'
            )
        self.alpha = alpha

    def weights(self, scores: Tensor) -> Tensor:
        if float(self.alpha).is_integer():
            return scores**self.alpha
        return scores.clamp(min=0) ** self.alpha


@part
class LabelAffinity:
    """Database expansion by label affinity (``ja``).

    The whole database is ranked by label similarity to the query's best match: shared labels over
    (union + 1e-6), in descending order, ties by ascending position. The re-ranker reads the labels
    of the database, so its figures are not comparable with others.

    Args:
        precision: ``double``, or ``single`` as in the original for BigEarthNet. The small constant
            orders equal ratios by their union, if the precision can represent the difference.
        name: prefix of its results.
    """

    def __init__(self, precision: str = 'double', name: str = 'ja') -> None:
        if precision not in ('double', 'single'):
            raise ConfigError(
                f'LabelAffinity: precision is {precision!r}; use "double" or "single".'
            )
        self.dtype = np.float64 if precision == 'double' else np.float32
        self.k = 1
        self.name = name

    def __call__(
        self,
        queries: Tensor,
        database: Tensor,
        database_labels: Tensor,
        positions: Tensor,
        scores: Tensor,
    ) -> LabelScores:
        """Computes scores by labels; the arguments are those of :class:`AverageQE`."""
        return LabelScores(database_labels[positions[:, 0]], database_labels, self.dtype)


class LabelScores:
    """Returns the rank of shared / (union + 1e-6) among all possible values, int32, 0 is the
    best."""

    def __init__(self, labels: Tensor, database_labels: Tensor, dtype: type[np.floating]) -> None:
        self.labels = labels
        self.database = database_labels
        self.total = database_labels.sum(1).long()
        size = database_labels.shape[1]
        self.size = size
        shared = np.arange(size + 1, dtype=dtype)[:, None]
        total = np.arange(2 * size + 1, dtype=dtype)[None]
        ratio = shared / (np.maximum(total - shared, 0) + dtype(1e-6))
        order = np.unique(-ratio, return_inverse=True)[1].reshape(ratio.shape)
        self.order = torch.from_numpy(order).to(database_labels.device, torch.int32).flatten()

    def __call__(self, start: int, stop: int) -> Tensor:
        labels = self.labels[start:stop]
        shared = shared_labels(labels, self.database).long()
        total = labels.sum(1).long()[:, None] + self.total[None]
        return self.order[shared * (2 * self.size + 1) + total]
