"""SCCNet's head: cross-correlation, self-correlation, merge, losses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from rs_mm.errors import ConfigError
from rs_mm.models.losses.mask_agreement import area_agreement, focal_agreement
from rs_mm.registry import MODELS

from .correlation_learner import CorrelationLearner
from .hypercorrelation import StageFeatures, cross_correlation, resize_mask, self_correlation

_EXTRA_LOSSES = {'focal': focal_agreement, 'area': area_agreement}


class CorrelationLogits(NamedTuple):
    """The result of :class:`SelfCrossCorrelationHead`, for B queries with K shots each.

    Attributes:
        logits: (B, K, 2, H, W), merged; never negative, since a ReLU ends the merge.
        first_mask: (B, K, H, W) bool, found by the cross-correlation alone.
        guided_logits: (B, K, 2, H, W), from the self-correlation that is masked with the true mask;
            None if no query mask was given.
    """

    logits: torch.Tensor
    first_mask: torch.Tensor
    guided_logits: torch.Tensor | None


@MODELS.register_module()
class SelfCrossCorrelationHead(BaseModule):
    """A head that finds the query's mask by correlation with the support, then with the query
    itself.

    The query's maps are masked by the first mask on *both* sides of the self-correlation, as in
    the published code. Gradients reach the first learner only through the merge.

    Source: "Self-Correlation and Cross-Correlation Learning for Few-Shot Remote Sensing Image
    Semantic Segmentation", SIGSPATIAL 2023, sec. 3.

    Args:
        in_channels: maps per stage, shallow to deep: (4, 6, 3) for ResNet-50,
            (4, 23, 3) for ResNet-101, (3, 3, 1) for VGG-16.
        guided_weight: weight ``ld`` of the second cross-entropy.
        extra_loss: ``focal`` or ``area``: an additional term, see
            :mod:`rs_mm.models.losses.mask_agreement`; without gradient, as published.
        extra_weight: its weight.
    """

    def __init__(
        self,
        in_channels: Sequence[int] = (4, 6, 3),
        guided_weight: float = 1.0,
        extra_loss: str | None = None,
        extra_weight: float = 0.5,
        init_cfg: dict | None = None,
    ) -> None:
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

    def forward(
        self,
        query: list[StageFeatures],
        support: list[StageFeatures],
        support_mask: Tensor,
        query_size: tuple[int, int],
        query_mask: Tensor | None = None,
        *,
        release: bool = False,
    ) -> CorrelationLogits:
        """Computes the logits of each shot separately.

        Args:
            query: maps of B queries, one entry per stage; the stages may be in the order of the
                backbone, shallow to deep, or deep to shallow.
            support: maps of B * K supports in the same order, the shots of a query together.
            support_mask: (B, K, H_s, W_s), 0 or 1.
            query_size: (H, W) of the query images.
            query_mask: (B, H, W), 0 or 1; if given, the guided logits are computed.
            release: empties both lists, which frees the memory of each stage after its use; the
                features take most of the memory.

        Returns:
            Logits (B, K, 2, H, W), the first mask and, with ``query_mask``, the guided logits.
        """
        query, support = (self._deepest_first(stages, release) for stages in (query, support))
        correlations = self.cross_correlations(query, support, support_mask)
        support.clear()
        shape = (len(support_mask), support_mask.shape[1])
        return self.from_correlations(query, correlations, shape, query_size, query_mask)

    def from_correlations(
        self,
        query: list[StageFeatures],
        correlations: list[Tensor],
        shape: tuple[int, int],
        query_size: tuple[int, int],
        query_mask: Tensor | None = None,
    ) -> CorrelationLogits:
        """Computes the rest of :meth:`forward` from the correlations of queries and supports.

        Args:
            query: maps of B queries, deepest stage first; the list is emptied.
            correlations: result of :meth:`cross_correlations`; the list is emptied.
            shape: (B, K).
            query_size: (H, W) of the query images.
            query_mask: (B, H, W), 0 or 1: asks for the guided logits.
        """
        b, k = shape
        coarse = self.cross_learner(correlations)
        with torch.no_grad():
            first = _enlarge(coarse, query_size).argmax(1).bool()
            masks = [resize_mask(first, stage.size).unflatten(0, (b, k)) for stage in query]
            if query_mask is not None:
                masks = [
                    torch.cat([mask, mask * resize_mask(query_mask, stage.size)[:, None]], 1)
                    for mask, stage in zip(masks, query)
                ]
        correlations.clear()
        # own and guided masks in one batch, because the learner treats each image separately
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
    def _deepest_first(stages, release):
        ordered = sorted(stages, key=lambda stage: stage.size[0] * stage.size[1])
        if release:
            stages.clear()
        return ordered

    @staticmethod
    def cross_correlations(
        query: list[StageFeatures], support: list[StageFeatures], support_mask: Tensor
    ) -> list[Tensor]:
        """Correlates queries with masked supports.

        Args:
            query, support: maps of B and B * K images, deepest stage first.
            support_mask: (B, K, H, W).

        Returns:
            (B * K, h_q, w_q, h_s, w_s, L), deepest first.
        """
        shape, flat = support_mask.shape[:2], support_mask.flatten(0, 1)
        return [
            cross_correlation(q, s, resize_mask(flat, s.size).unflatten(0, shape))
            for q, s in zip(query, support)
        ]

    @staticmethod
    def self_correlations(query: list[StageFeatures], masks: list[Tensor]) -> list[Tensor]:
        """Correlates masked queries with themselves.

        Args:
            query: maps of B images, deepest stage first.
            masks: (B, M, h * w), M masks for each image.

        Returns:
            (B * M, h, w, h, w, L), deepest first.
        """
        return [self_correlation(q, mask) for q, mask in zip(query, masks)]

    def loss(self, output: CorrelationLogits, query_mask: Tensor) -> dict[str, Tensor]:
        """Returns the cross-entropies of the merged and of the guided logits, and the optional
        extra term.

        Ignored pixels count as background: the published loss has no ignore index.

        Args:
            output: result of :meth:`forward` with the query mask.
            query_mask: (B, H, W), 0 or 1.

        Returns:
            ``loss_ce``, ``loss_guided`` and, if asked for, ``loss_extra``.
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
