"""Multi-label classification by distance-weighted nearest neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from rs_mm.errors import DataError

from .nearest import nearest


def label_weights(distances: Tensor, neighbour_labels: Tensor) -> tuple[Tensor, Tensor]:
    """Sums the weights 1 / distance of the neighbours with and without each label.

    If a neighbour is at distance 0, only neighbours at distance 0 count.

    Args:
        distances: (Q, k).
        neighbour_labels: (Q, k, L) of 0 and 1.

    Returns:
        (Q, L) float64 each.
    """
    distances = distances.double()
    zero = distances == 0
    weights = torch.where(zero.any(1, keepdim=True), zero.double(), 1 / distances)[..., None]
    present = neighbour_labels.double()
    return (weights * present).sum(1), (weights * (1 - present)).sum(1)


def vote(distances: Tensor, neighbour_labels: Tensor) -> Tensor:
    """Decides each label by the larger of :func:`label_weights`; a tie gives 0.

    Returns:
        (Q, L) uint8.
    """
    present, absent = label_weights(distances, neighbour_labels)
    return (present > absent).to(torch.uint8)


def knn_classify(
    queries: Tensor, references: Tensor, labels: Tensor, k: int = 10, max_similarities: int = 2**27
) -> Tensor:
    """Predicts the labels of queries from their k nearest references, weighted with 1 / distance.

    Distances are Euclidean, and the result equals that of scikit-learn's ``KNeighborsClassifier(k,
    weights='distance')``.

    Args:
        queries: (Q, D).
        references: (N, D).
        labels: (N, L) of 0 and 1.
        k: number of neighbours, at most N.
        max_similarities: see :func:`nearest`.

    Returns:
        (Q, L) uint8.
    """
    if len(labels) != len(references):
        raise DataError(f'{len(references)} reference embeddings, but labels for {len(labels)}.')
    distances, indices = nearest(queries, references, k, max_similarities)
    return vote(distances, labels[indices])
