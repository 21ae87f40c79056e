"""Contrastive, triplet and hinge losses on squared distances between images that share labels.

The graph relation network is compared with these losses. Two images are alike if they share at
least one label. Every pair or triplet of a batch is used, without loops and without a tensor larger
than B x B.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rs_mm.registry import MODELS

from .global_batch import gather_batch


def contrastive(squared: Tensor, same: Tensor, margin: float) -> Tensor:
    """``(same d^2 + (1 - same) max(0, margin - sqrt(d^2 + 1e-9))^2) / 2`` of every pair.

    Args:
        squared: squared distances, any shape.
        same: 1 where a pair should be close, else 0; same shape.
        margin: distance from which pairs of unlike images add nothing.
    """
    apart = (margin - (squared + 1e-9).sqrt()).clamp_min(0)
    return (same * squared + (1 - same) * apart * apart) / 2


def triplet_hinge(positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """``max(0, positive - negative + margin)`` of squared distances, any shape."""
    return (positive - negative + margin).clamp_min(0)


def pairwise_hinge(squared: Tensor, shared: Tensor, margin: float, slack: float = 0.05) -> Tensor:
    """``max(0, slack - s (margin - d^2))`` summed over pairs i < j, divided by B x B.

    As published, s is the number of shared labels (-1 without any), so several shared labels scale
    the term, and the mean counts the entries i >= j, which are zero.

    Args:
        squared: (B, B) squared distances.
        shared: (B, B) numbers of shared labels.
        margin: squared distance that separates alike from unlike.
        slack: how far beyond the margin a pair has to be.
    """
    sign = torch.where(shared > 0, shared, -1)
    return (slack - sign * (margin - squared)).clamp_min(0).triu(1).mean()


def all_triplets(squared: Tensor, alike: Tensor, margin: float) -> Tensor:
    """Mean of :func:`triplet_hinge` over every (anchor, alike, unlike) of a batch.

    Sorting an anchor's unlike images turns the sum over them into a count and a prefix sum.

    Args:
        squared: (B, B) squared distances.
        alike: (B, B) bool.
        margin: margin.

    Returns:
        A scalar; 0 if the batch has no triplet.
    """
    positive = alike & ~torch.eye(len(alike), dtype=torch.bool, device=alike.device)
    order = squared.masked_fill(alike, torch.inf).sort(1).values
    prefix = F.pad(order.masked_fill(order.isinf(), 0).cumsum(1), (1, 0))
    bounds = squared + margin
    count = torch.searchsorted(order.detach(), bounds.detach())
    hinge = count * bounds - prefix.gather(1, count)
    triplets = (positive.sum(1) * (~alike).sum(1)).sum()
    return (hinge * positive).sum() / triplets.clamp_min(1)


def squared_distances(embedding: Tensor) -> Tensor:
    """(B, B) squared distances between L2-normalised rows."""
    embedding = F.normalize(embedding.float())
    return (2 - 2 * embedding @ embedding.t()).clamp_min(0)


class _LabelledPairs(nn.Module):
    min_batch = 2

    def __init__(self, margin, loss_weight):
        super().__init__()
        self.margin, self.loss_weight = margin, loss_weight

    def forward(
        self,
        embedding: Tensor,
        logits: Tensor | None = None,
        labels: Tensor | None = None,
        sample_idx: Tensor | None = None,
    ) -> Tensor:
        """The loss of embeddings (N, D) and labels (N, L) of 0 and 1; the others are not used."""
        embedding, labels = gather_batch(embedding, labels)
        shared = labels.float() @ labels.float().t()
        return self.loss_weight * self._loss(squared_distances(embedding), shared)


@MODELS.register_module()
class PairContrastiveLoss(_LabelledPairs):
    """:func:`contrastive` over all pairs of a batch, mean; embeddings are L2-normalised.

    Args:
        margin: distance from which unlike images add nothing.
        loss_weight: factor of the loss.
    """

    loss_name = 'pair_contrastive'

    def __init__(self, margin: float = 1.5, loss_weight: float = 1.0) -> None:
        super().__init__(margin, loss_weight)

    def _loss(self, squared, shared):
        pairs = contrastive(squared, (shared > 0).float(), self.margin).triu(1)
        return pairs.sum() / max(1, len(pairs) * (len(pairs) - 1) // 2)


@MODELS.register_module()
class SquaredTripletLoss(_LabelledPairs):
    """:func:`all_triplets` of a batch; embeddings are L2-normalised.

    Args:
        margin: margin between squared distances.
        loss_weight: factor of the loss.
    """

    loss_name = 'squared_triplet'

    def __init__(self, margin: float = 0.5, loss_weight: float = 1.0) -> None:
        super().__init__(margin, loss_weight)

    def _loss(self, squared, shared):
        return all_triplets(squared, shared > 0, self.margin)


@MODELS.register_module()
class PairHingeLoss(_LabelledPairs):
    """:func:`pairwise_hinge` of a batch; embeddings are L2-normalised.

    Args:
        margin: squared distance that separates alike from unlike.
        loss_weight: factor of the loss.
    """

    loss_name = 'pair_hinge'

    def __init__(self, margin: float = 0.44, loss_weight: float = 1.0) -> None:
        super().__init__(margin, loss_weight)

    def _loss(self, squared, shared):
        return pairwise_hinge(squared, shared, self.margin)
