"""Packing of a loaded pair for the model."""

from __future__ import annotations

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from rs_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class MultiImgPackSegInputs(BaseTransform):
    """Packs a pair into ``inputs`` and ``data_samples``.

    ``inputs`` is a (dates * C, H, W) tensor of the images' dtype: the planes of date 1, then those
    of date 2, BGR as loaded. The label maps become int64 (1, H, W): ``gt_seg_map`` as
    ``gt_sem_seg``, and ``gt_seg_map_from``, ``gt_seg_map_to`` under ``gt_sem_seg_from``,
    ``gt_sem_seg_to``.

    Args:
        meta_keys: keys of the results that are kept with the sample, if present.
    """

    def __init__(
        self,
        meta_keys: tuple[str] = (
            'img_path',
            'seg_map_path',
            'seg_map_path_from',
            'seg_map_path_to',
            'ori_shape',
            'img_shape',
            'pad_shape',
            'scale_factor',
            'flip',
            'flip_direction',
            'pair_name',
        ),
    ) -> None:
        self.meta_keys = meta_keys

    def transform(self, results: dict) -> dict:
        images = [image if image.ndim == 3 else image[..., None] for image in results['img']]
        # directly into the planes, in one pass over each image
        planes = np.empty(
            (sum(image.shape[2] for image in images), *images[0].shape[:2]), np.result_type(*images)
        )
        end = 0
        for image in images:
            start, end = end, end + image.shape[2]
            planes[start:end] = image.transpose(2, 0, 1)
        sample = SegDataSample(metainfo={k: results[k] for k in self.meta_keys if k in results})
        for suffix in ('', '_from', '_to'):
            label = results.get(f'gt_seg_map{suffix}')
            if label is not None:
                data = torch.from_numpy(label[None].astype(np.int64))
                sample.set_data({f'gt_sem_seg{suffix}': PixelData(data=data)})
        return dict(inputs=torch.from_numpy(planes), data_samples=sample)

    def __repr__(self):
        return f'{type(self).__name__}(meta_keys={self.meta_keys})'
