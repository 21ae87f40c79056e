"""The data samples that mmseg does not have."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.structures import BaseDataElement


class EmbeddingDataSample(BaseDataElement):
    """The labels and predictions of one image to embed.

    Data fields (each optional):

    - ``gt_label`` (L,) float32: multi-hot labels, 0 or 1.
    - ``embedding`` (D,) float32: the image's vector, set by prediction.
    - ``score`` (L,) float32: class scores, set by prediction.

    Meta information: ``sample_idx`` (int, position in the dataset), ``name`` (str), ``img_path``
    (str).
    """

    def set_gt_label(self, value: np.ndarray | torch.Tensor) -> EmbeddingDataSample:
        """Sets the multi-hot labels (L,)."""
        self.set_field(_float_vector(value), 'gt_label', dtype=torch.Tensor)
        return self

    def set_embedding(self, value: torch.Tensor) -> EmbeddingDataSample:
        """Sets the image's vector (D,)."""
        self.set_field(value, 'embedding', dtype=torch.Tensor)
        return self

    def set_score(self, value: torch.Tensor) -> EmbeddingDataSample:
        """Sets the class scores (L,)."""
        self.set_field(value, 'score', dtype=torch.Tensor)
        return self


class EpisodeDataSample(BaseDataElement):
    """One episode of few-shot segmentation: K supports with masks, and a query.

    Data fields (each optional, but prediction needs ``support_mask``):

    - ``support_mask`` (K, H, W) uint8: 1 where a support image shows the class.
    - ``support_ignore`` (K, H, W) uint8: 1 where a support's label is unknown.
    - ``gt_mask`` (H, W) uint8: the query's mask.
    - ``ignore`` (H, W) uint8: 1 where the query's label is unknown.
    - ``pred_mask`` (H, W) uint8: set by prediction.
    - ``votes`` (H, W) uint8: how many supports voted for foreground, set by prediction.

    Meta information: ``class_id`` (int, from 0), ``class_name``, ``query_name``, ``query_path``
    (str), ``support_names`` (list[str]), ``sample_idx`` (int).
    """


def _float_vector(value):
    return torch.as_tensor(np.asarray(value) if isinstance(value, list) else value).float()
