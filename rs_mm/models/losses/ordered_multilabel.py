"""OML: the ordered multi-label loss, a smooth average precision over label sets."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rs_mm.errors import ConfigError
from rs_mm.registry import MODELS

from .global_batch import gather_batch


@MODELS.register_module()
class OMLLoss(nn.Module):
    """Ordered multi-label loss (Imbriaco et al. 2021, on Smooth-AP, Brown et al. 2020).

    With S the cosine similarities of the batch, the soft rank of item j for query q is
    ``R[q, j] = 1 + sum over i != j of sigmoid((S[q, i] - S[q, j]) / temperature)``. For a class
    with the positives P, AP is the sum over q, j in P of (soft rank within P) / R, divided by |P|
    and by ``normalizer``. The loss is the mean of 1 - AP over the classes with at least two
    positives. Without such a class it is 0 (with a graph). A label counts only where it is exactly
    1.

    Under distributed training the whole global batch is compared.

    Args:
        temperature: of the sigmoid.
        normalizer: ``batch``: the batch size, as published; a class reaches at most |P|/B, and the
            minimum is not 0; ``class``: |P|, the mean over the queries of the class.
        chunk_size: queries at a time; the B x B x B comparison takes ``chunk_size`` x B x B
            values.
        loss_weight: factor of the loss.
        loss_name: its name in the log, after ``loss_``.
    """

    min_batch = 2

    def __init__(
        self,
        temperature: float = 0.01,
        normalizer: str = 'batch',
        chunk_size: int = 32,
        loss_weight: float = 1.0,
        loss_name: str = 'oml',
    ) -> None:
        super().__init__()
        if normalizer not in ('batch', 'class'):
            raise ConfigError(f'OMLLoss.normalizer is {normalizer!r}; use "batch" or "class".')
        self.temperature = temperature
        self.normalizer = normalizer
        self.chunk_size = chunk_size
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
        positive = (labels == 1).float()
        count = positive.sum(0)
        # classes that do not count get weight 0 and are not cut out, because the host would wait
        # for their number on a GPU
        counts = count > 1
        classes = counts.sum()
        embedding = F.normalize(embedding)
        queries = len(embedding) if self.normalizer == 'batch' else count
        weight = positive * counts / (count * queries * classes).clamp(min=1)
        mean_ap = _MeanAP.apply(
            embedding @ embedding.t(), positive, weight, self.temperature, self.chunk_size
        )
        return self.loss_weight * ((classes > 0).float() - mean_ap)


class _MeanAP(torch.autograd.Function):
    """Sum over queries q, items j and classes c of weight[q, c] * positive[j, c] * R_c / R.

    The ranks of a query depend only on its row of similarities. So the gradient is computed
    together with the value, for a chunk of queries at a time, and only (B, B) values are kept.
    """

    @staticmethod
    def forward(ctx, similarity, positive, weight, temperature, chunk_size):
        total = similarity.new_zeros(())
        gradient = torch.empty_like(similarity)
        off_diagonal = 1 - torch.eye(len(similarity), device=similarity.device)
        for start in range(0, len(similarity), chunk_size):
            rows = slice(start, start + chunk_size)
            scores = similarity[rows]
            # ahead[q, j, i]: how much item i is ranked before item j
            ahead = (scores[:, None, :] - scores[:, :, None]) / temperature
            ahead = ahead.clamp_(-50, 50).sigmoid_() * off_diagonal
            rank = 1 + ahead.sum(2)  # (q, j)
            class_rank = 1 + ahead @ positive  # (q, j, c)
            share = weight[rows, None, :] * positive[None] / rank[:, :, None]
            precision = share * class_rank
            total += precision.sum()
            # d value / d ahead[q, j, i], then the derivative of the sigmoid
            slope = share @ positive.t() - (precision.sum(2) / rank)[:, :, None]
            slope *= ahead * (1 - ahead) / temperature
            gradient[rows] = slope.sum(1) - slope.sum(2)
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0], None, None, None, None
