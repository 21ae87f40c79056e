"""Test-time augmentation of segmentors."""

from __future__ import annotations

import torch
from mmengine.model import BaseTTAModel
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from rs_mm.registry import MODELS


@MODELS.register_module()
class SegTTAModel(BaseTTAModel):
    """Test-time augmentation: the mean softmax of all views, then the most probable class.

    The views' logits are already flipped back and of the original size when they are merged. Unlike
    mmseg's class of the same name, this class keeps the first view's sample (its meta data and
    labels), the shape (1, H, W) of a prediction, and the merged probabilities as ``seg_probs``.
    """

    def merge_preds(self, data_samples_list: list[list[SegDataSample]]) -> list[SegDataSample]:
        """Merges ``[[sample of view 1, of view 2, ...], ...]`` into one sample per image."""
        merged = []
        for views in data_samples_list:
            sample = views[0]
            probabilities = sum(view.seg_logits.data.softmax(0) for view in views) / len(views)
            sample.set_data(
                dict(
                    seg_probs=PixelData(data=probabilities),
                    pred_sem_seg=PixelData(data=torch.argmax(probabilities, 0, keepdim=True)),
                )
            )
            merged.append(sample)
        return merged
