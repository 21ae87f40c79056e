"""The head of graph relation networks: a unit-length embedding, and logits."""

from __future__ import annotations

import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from rs_mm.registry import MODELS

from .head_output import HeadOutput

_AVG_POOL = dict(type='GlobalPool', mode='avg')


@MODELS.register_module()
class GRNHead(BaseModule):
    """Pooled feature map -> linear -> L2-normalised embedding; logits from the linear's output.

    The classifier reads the embedding *before* normalisation, without activation in between, as
    published. Weights start Kaiming normal (fan-in).

    Source: Kang et al., "Graph Relation Network", TGRS 2020, Fig. 3.

    Args:
        in_channels: channels of the feature map (filled in by :class:`ImageEmbedder`).
        embed_dims: size of the embedding.
        num_classes: number of labels; None: no classifier (SNDL alone).
        pool: config of the pooling.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dims: int = 128,
        num_classes: int | None = None,
        pool: dict = _AVG_POOL,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.pool = MODELS.build(pool)
        self.fc = nn.Linear(in_channels, embed_dims)
        self.classifier = nn.Linear(embed_dims, num_classes) if num_classes else None
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, features: Tensor) -> HeadOutput:
        """Feature map (N, C, H, W) to embedding (N, embed_dims) and logits (N, num_classes)."""
        vector = self.fc(self.pool(features))
        logits = None if self.classifier is None else self.classifier(vector)
        return HeadOutput.single(F.normalize(vector), logits)
