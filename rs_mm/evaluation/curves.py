"""The numbers of precision and recall over the threshold, and of confusion matrices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

BINS = 1000  # number of thresholds


@dataclass
class Confusion:
    """A confusion matrix.

    Attributes:
        counts: (C, C), rows true classes, columns predicted ones.
        classes: C names.
    """

    counts: np.ndarray
    classes: list[str]


@dataclass
class Curve:
    """Precision and recall of a class at each threshold of its probability.

    Attributes:
        threshold: (T,) ascending; a sample with at least this probability is positive.
        precision: (T,), NaN without a predicted positive.
        recall: (T,), NaN without a true sample.
        f1: (T,), 0 without a predicted positive.
    """

    threshold: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray

    @property
    def average_precision(self) -> float:
        """The area below the steps of precision over recall; NaN without a true sample."""
        recall = np.append(self.recall, 0.0)
        steps = np.nan_to_num(self.precision, nan=0.0) * (recall[:-1] - recall[1:])
        return float(steps.sum())

    @property
    def best_threshold(self) -> float:
        """The threshold of the highest F1."""
        return float(self.threshold[int(np.argmax(self.f1))])


def probability_bins(probabilities: Tensor, label: Tensor, ignore_index: int = 255) -> np.ndarray:
    """Counts pixels by class, by whether they belong to the class, and by its probability.

    Args:
        probabilities: (C, ...) in [0, 1].
        label: (...) integer classes.
        ignore_index: label of pixels that are left out.

    Returns: (C, 2, BINS) int64; row 1 holds the pixels of the class.
    """
    known = label != ignore_index
    probabilities, label = probabilities[:, known], label[known]
    result = []
    for number, values in enumerate(probabilities):
        place = (values * BINS).long().clamp_(0, BINS - 1)
        place += BINS * (label == number)
        result.append(torch.bincount(place, minlength=2 * BINS).view(2, BINS).cpu().numpy())
    return np.stack(result)


def curve_of_bins(bins: np.ndarray) -> Curve:
    """Makes the curve of one class from (2, BINS) counts of :func:`probability_bins`."""
    others, own = (row[::-1].cumsum()[::-1] for row in bins)
    return _curve(np.arange(BINS) / BINS, own, own + others, own[0])


def curve_of_scores(score: np.ndarray, true: np.ndarray) -> Curve:
    """Makes the curve of one class from (N,) scores and 0/1 labels, at every score that occurs."""
    order = np.argsort(score, kind='stable')
    score, true = np.asarray(score, float)[order], np.asarray(true)[order] > 0
    first = np.append(True, score[1:] != score[:-1])
    hit, found = true[::-1].cumsum()[::-1], np.arange(len(true), 0, -1)
    return _curve(score[first], hit[first], found[first], true.sum())


def _curve(threshold, hit, found, there):
    with np.errstate(divide='ignore', invalid='ignore'):
        precision, recall = hit / found, hit / there
        f1 = np.nan_to_num(2 * hit / (found + there))
    return Curve(np.asarray(threshold), precision, recall, f1)
