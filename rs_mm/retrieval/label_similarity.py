"""Similarity of multi-hot labels: shared labels and the Jaccard distance."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def shared_labels(a: Tensor, b: Tensor) -> Tensor:
    """Counts the labels that rows of (N, L) and (M, L) have in common: (N, M) float32."""
    return torch.mm(a.float(), b.float().t())


def jaccard_distance(a: Tensor, b: Tensor) -> Tensor:
    """Divides mismatching positions by the union of the labels: (N, M) float64; 0 if both are
    empty.

    The quotient has double precision: 2/5 counts as <= 0.4.
    """
    shared = shared_labels(a, b).double()
    total = a.double().sum(1)[:, None] + b.double().sum(1)[None]
    return (total - 2 * shared) / (total - shared).clamp(min=1)


class MatchLevels:
    """The database images that match a query, at several Jaccard thresholds and by any shared
    label.

    Only small integers are compared: for every number of labels of the query and of the image, the
    necessary number of shared labels is computed beforehand in double precision.

    Args:
        database_labels: (N, L) of 0 and 1.
        thresholds: level name -> largest Jaccard distance of a match.
        shared: whether a further level ``shared`` matches by at least one common label.
    """

    def __init__(
        self, database_labels: Tensor, thresholds: Mapping[str, float], shared: bool = False
    ) -> None:
        self.names = list(thresholds) + ['shared'] * shared
        if len(self.names) > 7:
            raise ValueError('at most 7 match levels can be evaluated at once')
        self.database = database_labels.float()
        size = database_labels.shape[1]
        self._least = []
        for name in self.names:
            least = (
                np.ones(2 * size + 1) if name == 'shared' else _least_shared(size, thresholds[name])
            )
            least = torch.from_numpy(least).to(torch.uint8 if size < 255 else torch.int16)
            least = least.unfold(0, size + 1, 1).contiguous()  # by labels of query and of image
            least = least.to(database_labels.device)
            self._least.append(least[:, database_labels.sum(1).long()])  # (L + 1, N)

    def __call__(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Compares query labels (Q, L) with the database.

        Returns:
            codes (Q, N) uint8, whose bit i says whether level ``names[i]`` matches, and the number
            of shared labels (Q, N), uint8 for fewer than 256 labels, else int16.
        """
        shared = shared_labels(labels, self.database).to(self._least[0].dtype)
        codes = torch.zeros_like(shared, dtype=torch.uint8)
        own = labels.sum(1).long()
        for bit, least in enumerate(self._least):
            codes |= (shared >= least.index_select(0, own)).to(torch.uint8) << bit
        return codes, shared


def _least_shared(size, threshold):
    """Returns the least number of shared labels for a match, by the sum of labels of both, 0 to 2 x
    size."""
    total = np.arange(2 * size + 1)
    shared = np.arange(size + 1)[:, None]
    matches = (total - 2 * shared) / np.maximum(total - shared, 1) <= threshold
    # if nothing matches, the number is larger than the number of labels
    return np.where(matches.any(0), matches.argmax(0), size + 1)
