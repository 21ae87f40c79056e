"""Thresholds on class probabilities that give the best F1."""

from __future__ import annotations

import torch
from torch import Tensor

from .multilabel_scores import f1_scores

_STEPS = 200


def best_threshold(probability: Tensor, true: Tensor) -> float:
    """Finds the threshold for all classes with the best F1 averaged over samples.

    The middles between quantiles of all probabilities are tried.

    Args:
        probability: (N, L) in [0, 1].
        true: (N, L) of 0 and 1.

    Returns:
        The threshold; the lowest if several are equally good.
    """
    values = probability.flatten().double().unique()
    if len(values) < 2:
        return 0.5
    places = torch.linspace(0, len(values) - 2, min(_STEPS, len(values) - 1)).long()
    candidates = (values[places] + values[places + 1]) / 2
    scores = [f1_scores(probability >= c, true)['sample'] for c in candidates]
    return float(candidates[max(range(len(scores)), key=scores.__getitem__)])


def best_thresholds(probability: Tensor, true: Tensor) -> Tensor:
    """Finds the threshold of each class with the best F1 of that class.

    Every cut between two probabilities is tried; the threshold lies in its middle.

    Args:
        probability: (N, L) in [0, 1].
        true: (N, L) of 0 and 1.

    Returns:
        (L,) float64; 0.5 for a class without a true sample.
    """
    result = torch.full((probability.shape[1],), 0.5, dtype=torch.float64)
    for i, (scores, labels) in enumerate(zip(probability.T.double(), (true > 0).T)):
        if not labels.any():
            continue
        values, order = scores.sort(descending=True, stable=True)
        hits = labels[order].double().cumsum(0)
        taken = torch.arange(1, len(values) + 1, dtype=torch.float64)
        f1 = 2 * hits / (taken + labels.sum())
        # a cut between equal probabilities is impossible
        below = torch.cat([values[1:], values.new_zeros(1)])
        f1[:-1][values[:-1] == values[1:]] = -1
        best = int(f1.argmax())
        result[i] = (values[best] + below[best]) / 2
    return result
