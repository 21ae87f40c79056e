"""Packing of an image and its metadata for an image embedder."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from mmcv.transforms import BaseTransform

from rs_mm.registry import TRANSFORMS
from rs_mm.structures import EmbeddingDataSample


@TRANSFORMS.register_module()
class PackEmbeddingInputs(BaseTransform):
    """Makes ``inputs`` (C, H, W) and ``data_samples`` of one image; labels are optional.

    Required keys: ``img`` ((H, W, C) or (H, W) array, or (C, H, W) tensor). Optional: ``gt_label``
    ((L,) of 0 and 1) and every key of ``meta_keys``.

    Args:
        meta_keys: keys that are copied to the sample's meta information, if present.
    """

    def __init__(
        self,
        meta_keys: Sequence[str] = ('sample_idx', 'name', 'img_path', 'ori_shape', 'band_names'),
    ) -> None:
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict) -> dict:
        img = results['img']
        if isinstance(img, np.ndarray):
            if img.ndim == 2:
                img = img[..., None]
            img = torch.from_numpy(np.ascontiguousarray(img.transpose(2, 0, 1)))
        sample = EmbeddingDataSample()
        for key in self.meta_keys:
            if key in results:  # `set_metainfo` would make a deep copy of each value
                sample.set_field(results[key], key, field_type='metainfo')
        if results.get('gt_label') is not None:
            sample.set_gt_label(results['gt_label'])
        return dict(inputs=img, data_samples=sample)

    def __repr__(self):
        return f'{type(self).__name__}(meta_keys={self.meta_keys})'
