"""Retrieval heads: one pooled vector, or several part branches with a BNNeck each."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from rs_mm.errors import ConfigError
from rs_mm.registry import MODELS

from ..utils.random_state import keep_random_state
from .head_output import HeadOutput

_MAX_POOL = dict(type='GlobalPool', mode='max')


@MODELS.register_module()
class EmbeddingHead(BaseModule):
    """Pooled feature map, an optional learned projection, and a bias-free classifier.

    Args:
        in_channels: channels of the feature map (filled in by :class:`ImageEmbedder`).
        num_classes: number of labels.
        pool: config of the pooling.
        embed_dims: size of a learned linear projection after the pooling; None: no projection,
            the embedding is the pooled vector.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        pool: dict = _MAX_POOL,
        embed_dims: int | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.pool = MODELS.build(pool)
        self.project = nn.Linear(in_channels, embed_dims) if embed_dims else None
        self.fc = nn.Linear(embed_dims or in_channels, num_classes, bias=False)

    def forward(self, features: Tensor) -> HeadOutput:
        """Map (N, C, H, W) to embedding (N, D) and logits (N, num_classes)."""
        embedding = self.pool(features)
        if self.project is not None:
            embedding = self.project(embedding)
        return HeadOutput.single(embedding, self.fc(embedding))


class BNNeck(nn.Module):
    """Linear -> (embedding) -> batch norm -> bias-free classifier (Luo et al. 2019)."""

    def __init__(self, in_channels: int, embed_dims: int, num_classes: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_channels, embed_dims)
        self.bn = nn.BatchNorm1d(embed_dims)
        self.fc2 = nn.Linear(embed_dims, num_classes, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors (N, in_channels) to embedding (N, embed_dims) and logits (N, num_classes)."""
        embedding = self.fc1(x)
        return embedding, self.fc2(self.bn(embedding))


@MODELS.register_module()
class PartHead(BaseModule):
    """Part-based head: a branch per chunk of the map, and a global branch per split.

    The embedding is the concatenation of the branches' vectors before batch norm, local ones
    first; the logits are those of the first local branch.

    Args:
        in_channels: channels of the feature map (filled in by :class:`ImageEmbedder`).
        num_classes: number of labels.
        part_dims: size of each branch's vector.
        splits: triples of chunk counts along (channel, row, column). Chunk sizes are rounded up, as
            in ``torch.chunk``: 8 rows in 3 chunks are 3, 3 and 2, but 4 rows in 3 chunks are only 2
            and 2.
        pool: config of the pooling, shared by all branches.
        skip_missing_parts: for a map that gives fewer chunks than a split asks for. True: the last
            branches of the split stay unused, as in the published code, and the embedding is
            shorter. False: the map is refused.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        part_dims: int = 256,
        splits: Sequence[Sequence[int]] = ((1, 1, 1), (1, 2, 2)),
        pool: dict = _MAX_POOL,
        skip_missing_parts: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.skip_missing_parts = skip_missing_parts
        for split in splits:
            if len(split) != 3 or min(split) < 1 or in_channels % split[0]:
                raise ConfigError(
                    f'head.splits has {tuple(split)}; each split is (channel, row, '
                    'column) chunk counts from 1, the first dividing the '
                    f'{in_channels} channels of the map.'
                )
        self.splits = [tuple(split) for split in splits]
        self.pool = MODELS.build(pool)
        widths = [in_channels // c for c, h, w in self.splits for _ in range(c * h * w)]
        self.local_branches = nn.ModuleList(
            BNNeck(width, part_dims, num_classes) for width in widths
        )
        self.global_branches = nn.ModuleList(
            BNNeck(in_channels, part_dims, num_classes) for _ in self.splits
        )

    def forward(self, features: Tensor) -> HeadOutput:
        """Feature map (N, C, H, W) to the vectors and logits of every branch."""
        branches, local = iter(self.local_branches), []
        for split in self.splits:
            own = [next(branches) for _ in range(math.prod(split))]
            chunks = self._cut(features, split)
            local += [branch(self.pool(chunk)) for branch, chunk in zip(own, chunks)]
        pooled = self.pool(features)
        whole = tuple(branch(pooled) for branch in self.global_branches)
        local = tuple(local)
        embedding = torch.cat([vector for vector, _ in local + whole], dim=1)
        return HeadOutput(embedding, local[0][1], (local, whole))

    def check_images(self, model: nn.Module, dataset: Any) -> None:
        """Checks before a run whether the maps of a dataset's images can be cut.

        Args:
            model: embedder with this head.
            dataset: its first sample gives the size of the images.

        Raises:
            ConfigError: the maps cannot be cut, and ``skip_missing_parts`` is not set.
        """
        with keep_random_state():
            inputs = dataset[0].get('inputs')
        if inputs is None or not hasattr(model, 'extract_feat'):
            return
        training, device = model.training, next(self.parameters()).device
        model.eval()
        with torch.no_grad():
            features = model.extract_feat(torch.zeros(1, *inputs.shape, device=device))
        model.train(training)
        for split in self.splits:
            found = len(self._cut(features, split))
            if found < math.prod(split):
                print_log(
                    f'head.splits {split}: a map of {features.shape[2]} x {features.shape[3]} has '
                    f'{found} parts of {math.prod(split)}; the last branches stay unused, as '
                    'published (skip_missing_parts=True).',
                    logger='current',
                    level=logging.WARNING,
                )

    def _cut(self, features, split):
        parts = [features]
        for axis, count in enumerate(split, start=1):
            parts = [piece for part in parts for piece in part.chunk(count, axis)]
        if len(parts) != math.prod(split) and not self.skip_missing_parts:
            raise ConfigError(
                f'a {features.shape[2]}x{features.shape[3]} feature map cannot be '
                f'cut as head.splits {split} asks; use larger images, a smaller '
                'output_stride, fewer parts, or skip_missing_parts=True to leave the missing '
                'ones out, as the published code does.'
            )
        return parts
