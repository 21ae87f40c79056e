"""A cache of the maps of a frozen backbone, for images that occur in several episodes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor


class FeatureCache:
    """The maps of the most recently used images, up to a size.

    A 256 x 256 image has 16 MiB of ResNet-50 maps in float32. In a 5-shot test every image of a
    list is a query once and a support five times on average.

    Args:
        max_bytes: if the maps take more, the oldest images are removed.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.bytes = max_bytes, 0
        self._kept: OrderedDict[tuple, list[list[Tensor]]] = OrderedDict()

    def clear(self) -> None:
        """Empties the cache; needed when the weights may have changed."""
        self._kept.clear()
        self.bytes = 0

    def get(self, names: list[str], images: Tensor, compute: Callable) -> tuple[list[Tensor], ...]:
        """Returns the maps of images, and computes only the maps that are not in the cache.

        Args:
            names: of the N images; equal names are equal images.
            images: (N, 3, H, W).
            compute: images -> stages of maps, as the backbone.

        Returns:
            Stages of maps (N, C, h, w).
        """
        keys = [(name, *images.shape[2:]) for name in names]
        new = {key: i for i, key in enumerate(keys) if key not in self._kept}
        wanted = {key: self._kept[key] for key in keys if key in self._kept}
        if new:
            stages = compute(images[list(new.values())])
            for i, key in enumerate(new):
                # copies, because a slice would keep the whole batch in memory
                wanted[key] = [[m[i : i + 1].clone() for m in stage] for stage in stages]
        for key in wanted:
            self._keep(key, wanted[key])
        per_image = [wanted[key] for key in keys]
        return tuple([torch.cat(maps) for maps in zip(*stage)] for stage in zip(*per_image))

    def _keep(self, key, stages):
        if key not in self._kept:
            self.bytes += _size(stages)
        self._kept[key] = stages
        self._kept.move_to_end(key)
        while self.bytes > self.max_bytes:
            self.bytes -= _size(self._kept.popitem(last=False)[1])


def _size(stages):
    return sum(m.numel() * m.element_size() for stage in stages for m in stage)
