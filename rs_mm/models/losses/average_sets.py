"""Contrastive and triplet losses against the mean of an anchor's positives and the mean of the
rest."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rs_mm.registry import MODELS
from rs_mm.retrieval import jaccard_distance

from .global_batch import gather_batch


class _AverageSetLoss(nn.Module):
    """Anchors, and the means of their positives and negatives.

    Positives of an anchor are the other items of the batch within a Jaccard distance. Anchors
    without a positive are left out; if no anchor is left, the loss is 0.

    Args:
        margin: margin of the hinge.
        threshold: largest Jaccard distance of a positive.
        anchor_in_negatives: averages the anchor itself into its negatives, as published; False:
            negatives only.
        loss_weight: factor of the loss.
        loss_name: its name in the log, after ``loss_``.
    """

    min_batch = 2

    def __init__(
        self,
        margin: float = 1.2,
        threshold: float = 0.5,
        anchor_in_negatives: bool = True,
        loss_weight: float = 1.0,
        loss_name: str = 'average',
    ):
        super().__init__()
        self.margin = margin
        self.threshold = threshold
        self.anchor_in_negatives = anchor_in_negatives
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(
        self,
        embedding: Tensor,
        logits: Tensor | None = None,
        labels: Tensor | None = None,
        sample_idx: Tensor | None = None,
    ) -> Tensor:
        """The loss of embeddings (N, D) and labels (N, L) of 0 and 1; the others are not used."""
        embedding, labels = gather_batch(embedding.float(), labels)
        near = jaccard_distance(labels, labels) <= self.threshold
        itself = torch.eye(len(near), dtype=torch.bool, device=near.device)
        positive = near & ~itself
        negative = ~positive if self.anchor_in_negatives else ~near
        kept = positive.any(1) & negative.any(1)
        if not kept.any():
            return embedding.sum() * 0
        means = [_mean_rows(mask[kept], embedding) for mask in (positive, negative)]
        return self.loss_weight * self.compare(embedding[kept], *means)

    def compare(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """The loss of (n, D) anchors and means."""
        raise NotImplementedError


def _mean_rows(mask, rows):
    mask = mask.float()
    return mask @ rows / mask.sum(1, keepdim=True)


@MODELS.register_module()
class ContrastiveAverageLoss(_AverageSetLoss):
    """Contrastive loss against the two means, all normalised, **summed** over the anchors.

    ``0.5 d(a, p)^2 + 0.5 max(0, margin - d(a, n))^2``. The arguments are those of
    :class:`_AverageSetLoss`.
    """

    def __init__(
        self,
        margin: float = 1.2,
        threshold: float = 0.5,
        anchor_in_negatives: bool = True,
        loss_weight: float = 1.0,
        loss_name: str = 'contrastive',
    ) -> None:
        super().__init__(margin, threshold, anchor_in_negatives, loss_weight, loss_name)

    def compare(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        anchor, positive, negative = (F.normalize(x) for x in (anchor, positive, negative))
        pull = F.pairwise_distance(anchor, positive).square()
        push = (self.margin - F.pairwise_distance(anchor, negative)).clamp(min=0).square()
        return 0.5 * (pull + push).sum()


@MODELS.register_module()
class TripletAverageLoss(_AverageSetLoss):
    """Triplet hinge against the two means, not normalised, averaged over the anchors.

    The arguments are those of :class:`_AverageSetLoss`.
    """

    def __init__(
        self,
        margin: float = 1.2,
        threshold: float = 0.5,
        anchor_in_negatives: bool = True,
        loss_weight: float = 1.0,
        loss_name: str = 'triplet',
    ) -> None:
        super().__init__(margin, threshold, anchor_in_negatives, loss_weight, loss_name)

    def compare(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_loss(anchor, positive, negative, self.margin)
