"""Augmentation that depends on the position in training, not on which worker draws it."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from mmengine.dataset import ClassBalancedDataset as MMEngineClassBalancedDataset

from rs_mm.registry import DATASETS


class SeededIndex(int):
    """A sample's index that carries the seed of its augmentation.

    rs_mm's samplers yield these, so that a sample is augmented the same way whatever the number
    of workers or processes, and the same way again after a resume.

    Args:
        index: index into the dataset.
        seed: seed of every random draw made for this sample, in [0, 2**32).
    """

    def __new__(cls, index, seed):
        self = super().__new__(cls, index)
        self.seed = seed
        return self

    # how mmengine's ConcatDataset and RepeatDataset find the index into what they wrap
    def __sub__(self, other):
        return SeededIndex(int(self) - other, self.seed)

    def __mod__(self, other):
        return SeededIndex(int(self) % other, self.seed)

    def __reduce__(self):  # int's own way of pickling would drop the seed
        return SeededIndex, (int(self), self.seed)


class SeededSampleMixin:
    """Put before a dataset class: seeds ``random``, numpy and torch for each seeded index."""

    def __getitem__(self, idx: int) -> Any:
        if isinstance(idx, SeededIndex):
            random.seed(idx.seed)
            np.random.seed(idx.seed)
            # not torch.manual_seed: it asks every kind of device, which takes longer than small
            # images do, and in the training process would reset the generator of the GPU
            torch.default_generator.manual_seed(idx.seed)
            idx = int(idx)
        return super().__getitem__(idx)


@DATASETS.register_module()
class ClassBalancedDataset(MMEngineClassBalancedDataset):
    """mmengine's wrapper that repeats samples of rare classes, with each repetition's own seed.

    It asks the wrapped dataset for ``get_cat_ids(idx)``, which those with multi-hot labels have.
    """

    def _get_ori_dataset_idx(self, idx):
        found = super()._get_ori_dataset_idx(idx)
        return SeededIndex(found, idx.seed) if isinstance(idx, SeededIndex) else found
