"""LSEP and WARP: losses that rank an image's labels above the others, on class scores."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rs_mm.registry import MODELS

from .classification import checked_logits


def lsep(scores: Tensor, labels: Tensor) -> Tensor:
    """``log(1 + sum exp(score_n - score_p))`` over all images and their pairs of labels (p, n).

    As in the published code, the sum inside the logarithm runs over all images of the batch. The
    sum over the pairs of an image is a product of two sums, so no pair is formed.

    Source: Li et al., "Improving Pairwise Ranking for Multi-label Image Classification", CVPR
    2017, Eq. (4), for a single image.

    Args:
        scores: (B, L).
        labels: (B, L) of 0 and 1; an image with no label, or with all, adds no pair.
    """
    paired = (labels > 0).any(1) & ~(labels > 0).all(1)
    if not paired.any():
        return scores.sum() * 0
    scores, present = scores[paired], labels[paired] > 0
    negative = scores.masked_fill(present, -torch.inf).logsumexp(1)
    positive = (-scores).masked_fill(~present, -torch.inf).logsumexp(1)
    return F.softplus((negative + positive).logsumexp(0))


def warp(scores: Tensor, labels: Tensor) -> Tensor:
    """Weighted approximate-rank pairwise loss, mean over the images.

    For each label of an image, other labels are drawn without replacement until one scores within
    1 of it. The number of draws estimates the label's rank, and the hinge of the two is weighted
    by ``1 + 1/2 + ... + 1/rank``. Draws come from torch's generator.

    Source: Weston et al., "WSABIE", IJCAI 2011, Eq. (1)-(5).

    Args:
        scores: (B, L).
        labels: (B, L) of 0 and 1.
    """
    count = scores.shape[1]
    present = labels > 0
    hinge = 1 - scores[:, :, None] + scores[:, None, :]  # image, its label, another label
    other = present[:, :, None] & ~present[:, None, :]
    # labels are drawn in the order of random keys: all keys up to the first violation were tried
    keys = torch.rand_like(hinge).masked_fill(~other, torch.inf)
    first, partner = keys.masked_fill(hinge <= 0, torch.inf).min(2)
    trials = (keys <= first[..., None]).sum(2).clamp_min(1)
    harmonic = F.pad((1 / torch.arange(1, count, device=scores.device)).cumsum(0), (1, 0))
    weight = harmonic[(count - 1) // trials] * first.isfinite()
    return (weight * hinge.gather(2, partner[..., None])[..., 0]).sum() / len(scores)


class _LabelRanking(nn.Module):
    def __init__(self, loss_weight: float = 1.0, sigmoid: bool = True):
        super().__init__()
        self.loss_weight, self.sigmoid = loss_weight, sigmoid

    def forward(
        self,
        embedding: Tensor | None = None,
        logits: Tensor | None = None,
        labels: Tensor | None = None,
        sample_idx: Tensor | None = None,
    ) -> Tensor:
        """The loss of logits (N, L) and labels (N, L) of 0 and 1; the others are not used."""
        scores, labels = checked_logits(logits, labels)
        scores = scores.sigmoid() if self.sigmoid else scores
        return self.loss_weight * self._loss(scores, labels)


@MODELS.register_module()
class LSEPLoss(_LabelRanking):
    """:func:`lsep` of a batch.

    Args:
        loss_weight: factor of the loss.
        sigmoid: rank the sigmoid of the logits, as the published code was run; False ranks
            the logits, as the paper of LSEP does.
    """

    loss_name = 'lsep'

    def _loss(self, scores, labels):
        return lsep(scores, labels)


@MODELS.register_module()
class WARPLoss(_LabelRanking):
    """:func:`warp` of a batch.

    Args:
        loss_weight: factor of the loss.
        sigmoid: rank the sigmoid of the logits. Default: False, since a sigmoid keeps any
            two scores within the margin of 1.
    """

    loss_name = 'warp'

    def __init__(self, loss_weight: float = 1.0, sigmoid: bool = False) -> None:
        super().__init__(loss_weight, sigmoid)

    def _loss(self, scores, labels):
        return warp(scores, labels)
