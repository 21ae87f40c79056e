"""Scores of a change map, computed from its confusion matrix."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from rs_mm.errors import DataError


def confusion_matrix(
    prediction: Tensor, label: Tensor, num_classes: int = 2, ignore_index: int = 255
) -> torch.Tensor:
    """Counts pixels by true and predicted class.

    Args:
        prediction: integer classes, any shape.
        label: integer classes of the same shape.
        num_classes: number of classes.
        ignore_index: label of the pixels that are left out.

    Returns:
        (num_classes, num_classes) int64; rows are true classes, columns predicted ones.

    Raises:
        DataError: the shapes differ, or a class is not one of 0 .. num_classes - 1.
    """
    if prediction.shape != label.shape:
        raise DataError(
            f'prediction {tuple(prediction.shape)} and label {tuple(label.shape)} '
            'must have the same size.'
        )
    valid = label != ignore_index
    label, prediction = label[valid].long(), prediction[valid].long()
    _check_range('label', label, num_classes, f' and the ignored value {ignore_index}')
    _check_range(
        'prediction',
        prediction,
        num_classes,
        '; model.decode_head.num_classes must be the number of classes of the dataset',
    )
    counts = torch.bincount(label * num_classes + prediction, minlength=num_classes**2)
    return counts.view(num_classes, num_classes).cpu()


def _check_range(name, classes, num_classes, rest):
    if not classes.numel():
        return
    low, high = (int(bound) for bound in torch.aminmax(classes))
    if low < 0 or high >= num_classes:
        raise DataError(
            f'the {name} holds the class {low if low < 0 else high}, but there are '
            f'only the {num_classes} classes from 0{rest}.'
        )


def change_scores(confusion: Tensor, beta: float = 1.0) -> dict:
    """Computes scores per class and over all pixels.

    0 / 0 is NaN. F-score: (1 + beta^2) P R / (beta^2 P + R), which is NaN if the precision or the
    recall is, as in mmseg's ``IoUMetric``. Kappa: (po - pe) / (1 - pe), Cohen 1960.

    Args:
        confusion: (C, C), rows true, columns predicted.
        beta: weight of the recall in the F-score.

    Returns:
        Arrays of C fractions ``IoU``, ``Acc``, ``Fscore``, ``Precision``, ``Recall``, and the
        fractions ``aAcc`` (overall accuracy) and ``kappa``.
    """
    confusion = np.asarray(confusion, np.float64)
    hit, labelled, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    total = confusion.sum()
    with np.errstate(divide='ignore', invalid='ignore'):
        precision, recall = hit / predicted, hit / labelled
        accuracy = hit.sum() / total
        chance = (labelled * predicted).sum() / total**2
        return dict(
            aAcc=accuracy,
            IoU=hit / (labelled + predicted - hit),
            Acc=recall,
            Fscore=(1 + beta**2) * precision * recall / (beta**2 * precision + recall),
            Precision=precision,
            Recall=recall,
            kappa=(accuracy - chance) / (1 - chance),
        )


def mean_over_classes(values: np.ndarray) -> float:
    """Returns the mean without NaN; NaN if every class is NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', RuntimeWarning)
        return float(np.nanmean(values))
