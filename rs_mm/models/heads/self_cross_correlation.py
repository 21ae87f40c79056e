"""SCCNet's head: cross-correlation, self-correlation, merge, losses."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import nn

from rs_mm.errors import ConfigError
from rs_mm.models.losses.mask_agreement import area_agreement, focal_agreement
from rs_mm.registry import MODELS

from .correlation_learner import CorrelationLearner
from .hypercorrelation import cross_correlation, resize_mask, self_correlation

_EXTRA_LOSSES = {'focal': focal_agreement, 'area': area_agreement}


class CorrelationLogits(NamedTuple):
    """What :class:`SelfCrossCorrelationHead` computes, for B queries with K shots each.

    Attributes:
        logits (Tensor): (B, K, 2, H, W), merged; never negative, since a ReLU ends the merge.
        first_mask (Tensor): (B, K, H, W) bool, found by the cross-correlation alone.
        guided_logits (Tensor | None): (B, K, 2, H, W) of the self-correlation masked with the true
            mask too; None where no query mask was given.
    """

    logits: torch.Tensor
    first_mask: torch.Tensor
    guided_logits: torch.Tensor | None


@MODELS.register_module()
class SelfCrossCorrelationHead(BaseModule):
    """Finds the query's mask by correlation with the support, then with the query itself.

    The query's maps are masked by the first mask on *both* sides of the self-correlation, as in
    the published code. Gradients reach the first learner only through the merge.

    Source: "Self-Correlation and Cross-Correlation Learning for Few-Shot Remote Sensing Image
    Semantic Segmentation", SIGSPATIAL 2023, sec. 3.

    Args:
        in_channels (sequence of int): maps per stage, shallow to deep: (4, 6, 3) for ResNet-50,
            (4, 23, 3) for ResNet-101, (3, 3, 1) for VGG-16.
        guided_weight (float): weight ``ld`` of the second cross-entropy.
        extra_loss (str | None): ``focal`` or ``area``: an additional term, see
            :mod:`rs_mm.models.losses.mask_agreement`; without gradient, as published.
        extra_weight (float): its weight.
    """

    def __init__(
        self,
        in_channels=(4, 6, 3),
        guided_weight=1.0,
        extra_loss=None,
        extra_weight=0.5,
        init_cfg=None,
    ):
        super().__init__(init_cfg=init_cfg)
        if extra_loss is not None and extra_loss not in _EXTRA_LOSSES:
            raise ConfigError(
                f'`extra_loss` of the head must be None or one of '
                f'{sorted(_EXTRA_LOSSES)}, not {extra_loss!r}.'
            )
        self.in_channels = tuple(in_channels)
        self.guided_weight = guided_weight
        self.extra_loss, self.extra_weight = extra_loss, extra_weight
        deepest_first = self.in_channels[::-1]
        self.cross_learner = CorrelationLearner(deepest_first)
        self.self_learner = CorrelationLearner(deepest_first)
        self.merge = nn.Conv2d(4, 2, 1, bias=False)

    def forward(self, query, support, support_mask, query_size, query_mask=None):
        """Computes the logits of every shot by itself.

        Args:
            query (list[StageFeatures]): of B queries, deepest stage first. Both lists are emptied
                as they are used up, for they hold more memory than anything else.
            support (list[StageFeatures]): of B * K supports, the shots of a query together.
            support_mask (Tensor): (B, K, H_s, W_s), 0 or 1.
            query_size (tuple[int, int]): (H, W) of the query images.
            query_mask (Tensor | None): (B, H, W), 0 or 1: asks for the guided logits.

        Returns:
            CorrelationLogits: see there.
        """
        b, k = support_mask.shape[:2]
        correlations = self.cross_correlations(query, support, support_mask)
        support.clear()
        coarse = self.cross_learner(correlations)
        with torch.no_grad():
            first = _enlarge(coarse, query_size).argmax(1).bool()
            masks = [resize_mask(first, stage.size).unflatten(0, (b, k)) for stage in query]
            if query_mask is not None:
                masks = [
                    torch.cat([mask, mask * resize_mask(query_mask, stage.size)[:, None]], 1)
                    for mask, stage in zip(masks, query)
                ]
        del correlations
        # own and guided pass in one batch: the learner treats every image by itself
        correlations = self.self_correlations(query, masks)
        query.clear()
        coarse2 = self.self_learner(correlations)
        coarse2 = coarse2.unflatten(0, (b, -1))
        own = coarse2[:, :k].flatten(0, 1)
        merged = F.relu(self.merge(torch.cat([coarse, own], dim=1)))
        logits = _enlarge(merged, query_size).unflatten(0, (b, k))
        guided = None
        if query_mask is not None:
            guided = _enlarge(coarse2[:, k:].flatten(0, 1), query_size).unflatten(0, (b, k))
        return CorrelationLogits(logits, first.unflatten(0, (b, k)), guided)

    @staticmethod
    def cross_correlations(query, support, support_mask):
        """Query against masked supports.

        Args:
            query, support (list[StageFeatures]): deepest first, of B and B * K images.
            support_mask (Tensor): (B, K, H, W).

        Returns:
            list[Tensor]: (B * K, h_q, w_q, h_s, w_s, L), deepest first.
        """
        shape, flat = support_mask.shape[:2], support_mask.flatten(0, 1)
        return [
            cross_correlation(q, s, resize_mask(flat, s.size).unflatten(0, shape))
            for q, s in zip(query, support)
        ]

    @staticmethod
    def self_correlations(query, masks):
        """Masked queries against themselves.

        Args:
            query (list[StageFeatures]): deepest first, of B images.
            masks (list[Tensor]): (B, M, h * w), M masks for each image.

        Returns:
            list[Tensor]: (B * M, h, w, h, w, L), deepest first.
        """
        return [self_correlation(q, mask) for q, mask in zip(query, masks)]

    def loss(self, output, query_mask):
        """Cross-entropies of the merged and of the guided logits, and the optional extra term.

        Ignored pixels count as background: the published loss has no ignore index.

        Args:
            output (CorrelationLogits): of :meth:`forward` with the query mask.
            query_mask (Tensor): (B, H, W), 0 or 1.

        Returns:
            dict[str, Tensor]: ``loss_ce``, ``loss_guided`` and, if asked for, ``loss_extra``.
        """
        k = output.logits.shape[1]
        target = query_mask.long().repeat_interleave(k, dim=0)
        logits = output.logits.flatten(0, 1)
        losses = dict(
            loss_ce=F.cross_entropy(logits, target),
            loss_guided=self.guided_weight
            * F.cross_entropy(output.guided_logits.flatten(0, 1), target),
        )
        if self.extra_loss is not None:
            extra = _EXTRA_LOSSES[self.extra_loss](logits.argmax(1), target)
            losses['loss_extra'] = self.extra_weight * extra
        return losses


def _enlarge(logits, size):
    return F.interpolate(logits, size, mode='bilinear', align_corners=True)
