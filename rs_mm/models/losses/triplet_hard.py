"""Triplet loss with triplets drawn by label distance ("triplet hard" of the original)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rs_mm.registry import MODELS
from rs_mm.retrieval import jaccard_distance

from .global_batch import gather_batch, same_on_all


def jaccard_mining(labels: Tensor, threshold: float) -> tuple[Tensor, Tensor, Tensor]:
    """Draws one positive and one negative per item of a batch.

    Positives are all items within the Jaccard distance ``threshold``, **the anchor included**, as
    published; the rest are negatives. Draws are uniform and come from numpy's global generator,
    all positives first.

    Args:
        labels: (B, L) of 0 and 1.
        threshold: largest distance of a positive.

    Returns:
        anchors, positives and negatives, (n,) int64 each; an item without a negative is not an
        anchor.
    """
    near = jaccard_distance(labels, labels) <= threshold
    positive = _draw(near)
    anchors = (~near).any(1).nonzero().flatten()
    negative = _draw(~near[anchors])
    return anchors, positive[anchors], negative


def _draw(candidates):
    """One uniformly drawn column of each row of a (n, B) mask."""
    count = candidates.sum(1).cpu().numpy()
    place = np.random.randint(0, count) if len(count) else count
    place = same_on_all(torch.from_numpy(place).to(candidates.device))
    # candidate number `place` is where the running count first exceeds place
    return (candidates.cumsum(1) > place[:, None]).to(torch.uint8).argmax(1)


@MODELS.register_module()
class TripletHardLoss(nn.Module):
    """Triplet hinge over triplets of :func:`jaccard_mining`, averaged.

    This is not hard mining in the usual sense; the name comes from the original code.

    Args:
        margin: margin of the hinge; None: soft margin, log(1 + exp(d(a, p) - d(a, n))).
        threshold: largest Jaccard distance of a positive.
        loss_weight: factor of the loss.
        loss_name: its name in the log, after ``loss_``.
    """

    min_batch = 3

    def __init__(
        self,
        margin: float | None = 1.2,
        threshold: float = 0.5,
        loss_weight: float = 1.0,
        loss_name: str = 'triplet_hard',
    ) -> None:
        super().__init__()
        self.margin = margin
        self.threshold = threshold
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
        anchors, positives, negatives = jaccard_mining(labels, self.threshold)
        if not len(anchors):
            return embedding.sum() * 0
        return self.loss_weight * self.compare(
            *(embedding[i] for i in (anchors, positives, negatives))
        )

    def compare(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """The loss of given (n, D) triplets."""
        gap = F.pairwise_distance(anchor, positive) - F.pairwise_distance(anchor, negative)
        if self.margin is None:
            return F.softplus(gap).mean()
        return (gap + self.margin).clamp(min=0).mean()
