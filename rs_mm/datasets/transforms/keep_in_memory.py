"""Keeps what the first transforms of a pipeline make, for sets that fit into memory."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from mmcv.transforms import BaseTransform
from mmengine.dataset import Compose

from rs_mm.errors import ConfigError
from rs_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class KeepInMemory(BaseTransform):
    """Runs transforms once per sample and hands out copies of their result from then on.

    A small set is then decoded once, not once per epoch. Only what makes no random draw belongs
    here: loading, and a resize to a fixed size. Each loader process keeps a copy of its own, so
    ``num_workers=0`` needs the least memory and decodes least often.

    Args:
        transforms: configs of the transforms. Samples are told apart by ``img_path`` (file
            names), ``seg_map_path`` and ``sample_idx``.

    Examples:
        >>> load = [dict(type='LoadBandImage', num_bands=3), dict(type='ResizeBands', size=64)]
        >>> train_pipeline = [dict(type='KeepInMemory', transforms=load), dict(type='ScaleBands')]
    """

    def __init__(self, transforms: Sequence[dict]) -> None:
        self.transforms = Compose(
            [TRANSFORMS.build(step) if isinstance(step, dict) else step for step in transforms]
        )
        self._kept: dict[tuple, dict] = {}

    def transform(self, results: dict) -> dict:
        paths = results['img_path']
        paths = [paths] if isinstance(paths, str) else paths
        if not all(isinstance(path, str) for path in paths):
            raise ConfigError('KeepInMemory is for images in files; leave it out for arrays.')
        key = (*paths, results.get('seg_map_path'), results.get('sample_idx'))
        if key not in self._kept:
            self._kept[key] = self.transforms(results)
        return copy.deepcopy(self._kept[key])

    def __repr__(self):
        return f'{type(self).__name__}({self.transforms})'
