"""Segmentation of a class that a few images with masks define."""

from __future__ import annotations

import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModel
from torch import Tensor

from rs_mm.errors import ConfigError, DataError
from rs_mm.models.heads.hypercorrelation import StageFeatures
from rs_mm.models.heads.self_cross_correlation import CorrelationLogits
from rs_mm.registry import MODELS
from rs_mm.structures import EpisodeDataSample

from .feature_cache import FeatureCache


def vote(masks: Tensor, threshold: float = 0.4) -> tuple[Tensor, Tensor]:
    """Combines the masks of several shots by votes.

    Args:
        masks: (B, K, H, W), 0 or 1.
        threshold: least number of votes, divided by the largest vote of the image. With 0.4 two of
            five votes are enough; if the largest vote is 2, one is enough.

    Returns:
        The joint mask (B, H, W) uint8, and the votes (B, H, W) uint8.
    """
    votes = masks.sum(1, dtype=torch.float32)
    most = votes.amax((1, 2), keepdim=True).clamp(min=1)
    # in float32, because 2 / 5 must not be smaller than 0.4
    passed = votes / most >= torch.tensor(threshold, dtype=torch.float32, device=votes.device)
    return passed.to(torch.uint8), votes.to(torch.uint8)


@MODELS.register_module()
class FewShotSegmentor(BaseModel):
    """A few-shot segmentor of backbone, correlation head and a vote over shots.

    The features of the query are computed once, in the same batch as the features of all shots.

    Args:
        backbone: gives, for each of three stages, a list of maps.
        head: :class:`SelfCrossCorrelationHead` or a head with its interface.
        data_preprocessor: :class:`FewShotDataPreprocessor`.
        vote_threshold: see :func:`vote`.
        post_processor: refines each predicted mask, e.g. ``SpectralFusion``.
        feature_cache_gib: memory for the maps of images that occur in several episodes,
            in prediction with a frozen backbone; see :class:`FeatureCache`. 0 keeps none.
    """

    # not the head: torch 2.11 fails to compile its gradient for a CPU, and the positions that the
    # masks leave out of the correlations differ from batch to batch
    compiled_parts = ('backbone',)

    def __init__(
        self,
        backbone: dict,
        head: dict,
        data_preprocessor: dict | None = None,
        vote_threshold: float = 0.4,
        post_processor: dict | None = None,
        feature_cache_gib: float = 0.0,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        self.head = MODELS.build(head)
        self.vote_threshold = vote_threshold
        self.post_processor = post_processor and MODELS.build(post_processor)
        self.feature_cache = None
        if feature_cache_gib > 0:
            if not self.backbone.frozen:
                raise ConfigError('`feature_cache_gib` needs a frozen backbone.')
            self.feature_cache = FeatureCache(int(feature_cache_gib * 2**30))
        if tuple(self.backbone.map_counts) != self.head.in_channels:
            raise ConfigError(
                f'`head.in_channels` is {self.head.in_channels}, but the backbone gives '
                f'{tuple(self.backbone.map_counts)} maps; set it to that.'
            )

    def example_inputs(self, batch: int, height: int, width: int) -> dict:
        """Returns random 1-shot episodes as the data pipeline packs them, for the analysis
        tools."""

        def mask(*shape):
            return (torch.rand(*shape, height, width) < 0.2).to(torch.uint8)

        samples = [
            EpisodeDataSample(
                support_mask=mask(1),
                gt_mask=mask(),
                metainfo=dict(
                    query_name=f'query {i}',
                    support_names=[f'support {i}'],
                    class_id=0,
                    sample_idx=i,
                ),
            )
            for i in range(batch)
        ]
        pixels = torch.randint(256, (2, batch, 3, height, width), dtype=torch.uint8)
        return dict(
            inputs=dict(query=list(pixels[0]), support=list(pixels[1][:, None])),
            data_samples=samples,
        )

    def forward(
        self, inputs: dict[str, Tensor], data_samples: list[EpisodeDataSample], mode: str = 'tensor'
    ) -> dict[str, Tensor] | list[EpisodeDataSample] | Tensor:
        """Runs the model.

        Args:
            inputs: ``query`` (B, 3, H, W) and ``support`` (B, K, 3, H, W), as
                the preprocessor returns them.
            data_samples: with ``support_mask`` (K, H, W); ``loss`` needs
                ``gt_mask`` (H, W) too.
            mode: ``loss``, ``predict`` or ``tensor``.

        Returns:
            Losses; the samples with
            ``pred_mask`` and ``votes``, both (H, W) uint8; logits (B, K, 2, H, W).
        """
        if mode == 'loss':
            return self.loss(inputs, data_samples)
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        if mode == 'tensor':
            return self.episode_logits(inputs, data_samples).logits
        raise ConfigError(f'`mode` must be loss, predict or tensor, not {mode!r}.')

    def loss(
        self, inputs: dict[str, Tensor], data_samples: list[EpisodeDataSample]
    ) -> dict[str, Tensor]:
        """Returns the losses of a batch of episodes with known query masks; see the head."""
        query_mask = torch.stack([sample.gt_mask for sample in data_samples])
        query_mask = query_mask.to(inputs['query'].device, non_blocking=True)
        output = self.episode_logits(inputs, data_samples, query_mask)
        return self.head.loss(output, query_mask)

    @torch.no_grad()
    def predict(
        self, inputs: dict[str, Tensor], data_samples: list[EpisodeDataSample]
    ) -> list[EpisodeDataSample]:
        """Predicts the masks of the queries by a vote over the shots, without query masks.

        A support with an empty mask gives no information about the class. Its correlations are
        zero, it votes with the head's output for zeros, and a warning names it.

        Raises:
            DataError: the logits of a query are NaN or infinite.
        """
        _warn_of_empty_masks(data_samples)
        logits = self.episode_logits(inputs, data_samples).logits
        _check_finite(logits, data_samples)
        masks, votes = vote(logits.argmax(2), self.vote_threshold)
        for sample, mask, vote_map in zip(data_samples, masks, votes):
            sample.pred_mask, sample.votes = mask, vote_map
            if self.post_processor is not None:
                sample.pred_mask = self.post_processor(sample)
        return data_samples

    @torch.no_grad()
    def encode_supports(self, images: Tensor, masks: Tensor) -> tuple[list[StageFeatures], Tensor]:
        """Computes the features of supports, once for any number of queries.

        Args:
            images: (K, 3, H, W) float32, normalised.
            masks: (K, H, W) uint8, 0 or 1.

        Returns:
            The maps of the supports by stage, and the masks on the device of the maps.
        """
        return [StageFeatures(maps) for maps in self.backbone(images)], masks.to(images.device)

    @torch.no_grad()
    def segment(self, query: Tensor, supports: tuple[list[StageFeatures], Tensor]) -> Tensor:
        """Computes the logits of queries, for each support separately.

        Args:
            query: (B, 3, H, W) float32, normalised.
            supports: from :meth:`encode_supports`, K images.

        Returns:
            (B, K, 2, H, W) float32.

        Raises:
            DataError: the logits are NaN or infinite.
        """
        stages, masks = supports
        maps = self.backbone(query)
        found = []
        for i in range(len(query)):  # the correlations of one query take more memory than its maps
            own = [StageFeatures([m[i : i + 1] for m in stage]) for stage in maps]
            size = tuple(query.shape[2:])
            found.append(self.head(own, stages, masks[None], size).logits)
        logits = torch.cat(found)
        if not logits.isfinite().all():
            raise DataError(
                'the prediction is NaN or infinite; did the training diverge, or is the '
                'checkpoint damaged?'
            )
        return logits

    def episode_logits(
        self,
        inputs: dict[str, Tensor],
        data_samples: list[EpisodeDataSample],
        query_mask: Tensor | None = None,
    ) -> CorrelationLogits:
        """Computes the logits of every shot of a batch of episodes, before the vote.

        Args:
            inputs: ``query`` (B, 3, H, W) and ``support`` (B, K, 3, H, W), normalised.
            data_samples: with ``support_mask`` (K, H, W).
            query_mask: (B, H, W), 0 or 1; if given, the guided logits for training are computed.
        """
        query, support = inputs['query'], inputs['support']
        support_mask = _stack_masks(data_samples, support)
        b = len(query)
        if query.shape[2:] == support.shape[3:]:
            stages = self._maps(torch.cat([query, support.flatten(0, 1)]), data_samples)
            pairs = [([m[:b] for m in maps], [m[b:] for m in maps]) for maps in stages]
            del stages
        else:
            pairs = list(zip(self.backbone(query), self.backbone(support.flatten(0, 1))))
        # deepest first; the maps of each stage are freed after they are copied
        features = [tuple(map(StageFeatures, pairs.pop())) for _ in range(len(pairs))]
        own, others = (list(side) for side in zip(*features))
        del features
        size = tuple(query.shape[2:])
        return self.head(own, others, support_mask, size, query_mask, release=True)

    _logits = episode_logits  # its former name

    def _maps(self, images, data_samples):
        if self.training or self.feature_cache is None:
            return self.backbone(images)
        names = [sample.query_name for sample in data_samples]
        names += [name for sample in data_samples for name in sample.support_names]
        return self.feature_cache.get(names, images, self.backbone)

    def train(self, mode: bool = True) -> FewShotSegmentor:
        """Sets the mode; training empties the cache of maps."""
        if mode and self.feature_cache is not None:
            self.feature_cache.clear()
        return super().train(mode)


def _stack_masks(data_samples, support):
    wanted = (support.shape[1], *support.shape[3:])
    for sample in data_samples:
        if tuple(sample.support_mask.shape) != wanted:
            raise DataError(
                f'the support masks of query {_name(sample)} have shape '
                f'{tuple(sample.support_mask.shape)}, but its support images need {wanted}.'
            )
    masks = torch.stack([sample.support_mask for sample in data_samples])
    return masks.to(support.device, non_blocking=True)


def _check_finite(logits, data_samples):
    finite = logits.isfinite().flatten(1).all(1).tolist()
    if not all(finite):
        raise DataError(
            f'the prediction for query {_name(data_samples[finite.index(False)])} is NaN or '
            'infinite; did the training diverge, or is the checkpoint damaged?'
        )


def _warn_of_empty_masks(data_samples):
    for sample in data_samples:
        filled = sample.support_mask.flatten(1).any(1).tolist()
        if all(filled):
            continue
        names = sample.get('support_names', range(len(filled)))
        empty = ', '.join(str(name) for name, some in zip(names, filled) if not some)
        MMLogger.get_current_instance().warning(
            f'the support mask of {empty} (query {_name(sample)}) has no foreground; it carries '
            'no information about the class.'
        )


def _name(sample):
    return sample.get('query_name', '(unnamed)')
