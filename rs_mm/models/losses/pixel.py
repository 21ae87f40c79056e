"""Losses of class maps that leave out ignored and unsampled pixels.

These losses can be used in ``loss_decode`` of any head of mmseg, alone or in a list, with any pixel
sampler. Published configs name mmseg's losses. The losses in this file do what mmseg's cannot:
class weights with ignored pixels, focal loss without compiled mmcv, region losses with a sampler.

In all formulas m_i is the weight of pixel i: 0 if the label is ``ignore_index``, otherwise the
sampler's weight, or 1 without a sampler. A head with one output channel x counts as two classes
with the logits (0, x).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.models.losses.lovasz_loss import lovasz_softmax
from torch import Tensor, nn

from rs_mm.registry import MODELS


class _PixelLoss(nn.Module):
    """The base of these losses, called as ``loss(logits, target, weight=None, ignore_index=255)``.

    Args:
        class_weight: factor of each class; None: all are 1.
        loss_weight: factor of the loss.
        loss_name: name in the log; a loss is trained only if its name begins with ``loss_``.
    """

    def __init__(
        self,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_pixel',
    ):
        super().__init__()
        self.class_weight = None if class_weight is None else [float(w) for w in class_weight]
        self.loss_weight, self.loss_name = loss_weight, loss_name

    def forward(
        self,
        logits: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = 255,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Logits (N, C, H, W) and classes (N, H, W) to a scalar.

        Args:
            logits: scores of the map. target: its classes.
            weight: weights (N, H, W) of a sampler.
            ignore_index: label of pixels that are left out.
            reduction_override: ``none`` returns (N, H, W), which a sampler without threshold needs;
                only losses of single pixels have it.
        """
        logits = logits.float()  # half precision is too coarse for sums over a map
        valid = target != ignore_index
        target = target.where(valid, 0).long()
        mask = valid.to(logits.dtype) if weight is None else valid * weight.to(logits.dtype)
        factors = None if self.class_weight is None else logits.new_tensor(self.class_weight)
        result = self._loss(logits, target, mask, factors, reduction_override == 'none')
        return self.loss_weight * result


@MODELS.register_module()
class PixelCrossEntropyLoss(_PixelLoss):
    """Cross entropy, the weighted mean over the pixels that count.

    L = sum_i m_i a_{y_i} (-log p_i[y_i]) / sum_i m_i a_{y_i}, with p the softmax of the logits and
    a_c ``class_weight``; 0 where no pixel counts. mmseg's loss divides by the number of all pixels,
    including ignored ones.
    """

    def __init__(
        self,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_ce',
    ) -> None:
        super().__init__(class_weight, loss_weight, loss_name)

    def _loss(self, logits, target, mask, factors, per_pixel):
        losses = F.cross_entropy(_two_channels(logits), target, weight=factors, reduction='none')
        if per_pixel:
            return losses * mask
        total = mask.sum() if factors is None else (mask * factors[target]).sum()
        return (losses * mask).sum() / total.clamp(min=1e-12)


@MODELS.register_module()
class PixelFocalLoss(_PixelLoss):
    """Focal loss of every class against the rest, the mean over pixels that count and classes.

    L = sum_i m_i sum_c a_c A_ic (1 - q_ic)^gamma (-log q_ic) / (C sum_i m_i). With s the sigmoid of
    logit x_ic: q = s and A = alpha_c where y_i = c, else q = 1 - s and A = 1 - alpha_c. A head with
    one channel predicts class 1 against the rest. Source: Lin et al. 2017, equation 5.

    Args:
        gamma: the larger, the less weight have pixels that are already predicted correctly.
        alpha: weight of a class's own pixels in [0, 1], for all classes or one each.
        class_weight: a_c.
        loss_weight, loss_name: see :class:`PixelCrossEntropyLoss`.
    """

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | Sequence[float] = 0.5,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_focal',
    ) -> None:
        super().__init__(class_weight, loss_weight, loss_name)
        self.gamma = gamma
        self.alpha = alpha if isinstance(alpha, (int, float)) else [float(a) for a in alpha]

    def _loss(self, logits, target, mask, factors, per_pixel):
        truth = F.one_hot(target, max(2, logits.shape[1])).movedim(-1, 1).to(logits.dtype)
        truth = truth[:, -logits.shape[1] :]
        alpha = logits.new_tensor(self.alpha).view(-1, 1, 1)
        signed = logits * (2 * truth - 1)  # log q is the log-sigmoid of it
        wrong = torch.sigmoid(-signed)
        side = alpha * truth + (1 - alpha) * (1 - truth)
        losses = -side * wrong**self.gamma * F.logsigmoid(signed)
        if factors is not None:
            losses = losses * factors[-logits.shape[1] :].view(-1, 1, 1)
        losses = losses.mean(1) * mask
        return losses if per_pixel else losses.sum() / mask.sum().clamp(min=1e-12)


class _RegionLoss(_PixelLoss):
    """The base of losses of 1 minus an overlap per class: the weighted mean over classes; sums run
    over the batch."""

    def _loss(self, logits, target, mask, factors, per_pixel):
        if per_pixel:
            raise ValueError('a region has no loss per pixel; set `thresh` of the sampler')
        logits = _two_channels(logits)
        share = logits.softmax(1)
        truth = F.one_hot(target, logits.shape[1]).movedim(-1, 1).to(logits.dtype)
        mask = mask[:, None]
        losses = 1 - self._overlap(share, truth, lambda x: (x * mask).sum((0, 2, 3)))
        if factors is not None:
            return (losses * factors).sum() / factors.sum()
        return losses.mean()


@MODELS.register_module()
class PixelDiceLoss(_RegionLoss):
    """Dice loss of the softmax, per class over the batch, then the (weighted) mean over classes.

    L_c = 1 - (2 sum_i m_i p_ic t_ic + s) / (sum_i m_i p_ic^2 + sum_i m_i t_ic + s), with t_ic 1
    where y_i = c. Source: Milletari et al. 2016, smoothed by s.

    Args:
        smooth: s; if no pixel counts, the loss is 0.
        class_weight, loss_weight, loss_name: see :class:`PixelCrossEntropyLoss`.
    """

    def __init__(
        self,
        smooth: float = 1.0,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_dice',
    ) -> None:
        super().__init__(class_weight, loss_weight, loss_name)
        self.smooth = smooth

    def _overlap(self, share, truth, total):
        both = 2 * total(share * truth) + self.smooth
        return both / (total(share**2) + total(truth) + self.smooth)


@MODELS.register_module()
class PixelTverskyLoss(_RegionLoss):
    """Tversky loss of the softmax, per class over the batch, then the (weighted) mean.

    L_c = 1 - (TP + s) / (TP + alpha FP + beta FN + s) with TP = sum_i m_i p_ic t_ic,
    FP = sum_i m_i p_ic (1 - t_ic), FN = sum_i m_i (1 - p_ic) t_ic. Source: Salehi et al. 2017.

    Args:
        alpha: weight of false alarms.
        beta: weight of misses.
        smooth: s.
        class_weight, loss_weight, loss_name: see :class:`PixelCrossEntropyLoss`.
    """

    def __init__(
        self,
        alpha: float = 0.3,
        beta: float = 0.7,
        smooth: float = 1.0,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_tversky',
    ) -> None:
        super().__init__(class_weight, loss_weight, loss_name)
        self.alpha, self.beta, self.smooth = alpha, beta, smooth

    def _overlap(self, share, truth, total):
        both = total(share * truth)
        alarms, misses = total(share * (1 - truth)), total((1 - share) * truth)
        return (both + self.smooth) / (
            both + self.alpha * alarms + self.beta * misses + self.smooth
        )


@MODELS.register_module()
class PixelLovaszLoss(_PixelLoss):
    """Lovász-softmax loss over the pixels of the batch that count; 0 if none counts.

    The mean over the classes present, each times ``class_weight``. Source: Berman et al. 2018.
    It matters only whether a weight of a sampler is above 0.
    """

    def __init__(
        self,
        class_weight: Sequence[float] | None = None,
        loss_weight: float = 1.0,
        loss_name: str = 'loss_lovasz',
    ) -> None:
        super().__init__(class_weight, loss_weight, loss_name)

    def _loss(self, logits, target, mask, factors, per_pixel):
        if per_pixel:
            raise ValueError('a region has no loss per pixel; set `thresh` of the sampler')
        if not mask.any():
            return logits.sum() * 0
        return lovasz_softmax(
            _two_channels(logits).softmax(1),
            target.where(mask > 0, -1),
            classes='present',
            class_weight=self.class_weight,
            reduction='none',
            ignore_index=-1,
        )


def _two_channels(logits):
    return logits if logits.shape[1] > 1 else torch.cat([torch.zeros_like(logits), logits], 1)
