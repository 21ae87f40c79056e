"""Scores of multi-label predictions, as functions of two 0/1 matrices.

A quotient 0 / 0 (a sample or class without true and predicted labels) counts as 0, as in
scikit-learn by default.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rs_mm.errors import DataError


def f1_scores(pred: Tensor, true: Tensor) -> dict[str, float]:
    """Computes F1 averaged over samples, averaged over classes, and of all decisions together.

    Args:
        pred: (N, L) of 0 and 1.
        true: (N, L) of 0 and 1.

    Returns:
        ``sample``, ``macro`` and ``micro``, each in [0, 1].
    """
    hit, total = _counts(pred, true)
    return dict(
        sample=float(sample_f1(pred, true).mean()),
        macro=float(_quotient(2 * hit.sum(0), total.sum(0)).mean()),
        micro=float(_quotient(2 * hit.sum(), total.sum())),
    )


def sample_f1(pred: Tensor, true: Tensor) -> Tensor:
    """Computes F1 of every sample, (N,) float64, for (N, L) matrices of 0 and 1."""
    hit, total = _counts(pred, true)
    return _quotient(2 * hit.sum(1), total.sum(1))


def class_scores(pred: Tensor, true: Tensor) -> dict[str, Tensor]:
    """Computes precision, recall, F1 and number of true samples of every class.

    Args:
        pred: (N, L) of 0 and 1.
        true: (N, L) of 0 and 1.

    Returns:
        ``precision``, ``recall``, ``f1``: (L,) float64; ``support``: (L,) int64.
    """
    hit, total = _counts(pred, true)
    hit = hit.sum(0)
    return dict(
        precision=_quotient(hit, (pred > 0).sum(0)),
        recall=_quotient(hit, (true > 0).sum(0)),
        f1=_quotient(2 * hit, total.sum(0)),
        support=(true > 0).sum(0),
    )


def hamming_loss(pred: Tensor, true: Tensor) -> float:
    """Returns the share of wrong decisions among N x L."""
    _check(pred, true)
    return float(((pred > 0) != (true > 0)).double().mean())


def average_precision(score: Tensor, true: Tensor) -> Tensor:
    """Computes the average precision of every class; tied scores are one step.

    Args:
        score: (N, L), higher is more likely.
        true: (N, L) of 0 and 1.

    Returns:
        (L,) float64; NaN for a class without a true sample.
    """
    _check(score, true)
    if not score.isfinite().all():
        raise DataError('the class scores hold NaN or infinite values.')
    ranked, order = score.double().sort(dim=0, descending=True, stable=True)
    hit = (true > 0).gather(0, order).double()
    found, seen = hit.cumsum(0), torch.arange(1, len(hit) + 1, device=hit.device)[:, None]
    # in a run of tied scores, every member has the precision at the end of the run
    position = torch.arange(len(hit), device=hit.device)[:, None].expand_as(hit)
    last = torch.ones_like(hit, dtype=torch.bool)
    last[:-1] = ranked[:-1] != ranked[1:]
    end = torch.where(last, position, len(hit)).flip(0).cummin(0).values.flip(0)
    precision = (found / seen).gather(0, end)
    return (hit * precision).sum(0) / hit.sum(0)


def _counts(pred, true):
    _check(pred, true)
    pred, true = pred > 0, true > 0
    return pred & true, pred.long() + true.long()


def _check(pred, true):
    if pred.shape != true.shape:
        raise DataError(
            f'predictions of shape {tuple(pred.shape)} do not match labels of shape '
            f'{tuple(true.shape)}.'
        )


def _quotient(part, whole):
    return torch.where(whole > 0, part.double() / whole.clamp_min(1), 0)
