"""Augmentation that depends on the position in the training, not on the worker."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from mmengine.dataset import ClassBalancedDataset as MMEngineClassBalancedDataset

from rs_mm.registry import DATASETS


class SeededIndex(int):
    """A sample's index that carries the seed of its augmentation.

    rs_mm's samplers yield these indices. So the augmentation of a sample is the same for any number
    of workers or processes, and after a resume.

    Args:
        index: index into the dataset.
        seed: seed of every random draw made for this sample, in [0, 2**32).
    """

    def __new__(cls, index, seed):
        self = super().__new__(cls, index)
        self.seed = seed
        return self

    # mmengine's ConcatDataset and RepeatDataset compute the index into a wrapped dataset this way
    def __sub__(self, other):
        return SeededIndex(int(self) - other, self.seed)

    def __mod__(self, other):
        return SeededIndex(int(self) % other, self.seed)

    def __reduce__(self):  # pickling of int would drop the seed
        return SeededIndex, (int(self), self.seed)


class SeededSampleMixin:
    """A mixin before a dataset class that seeds ``random``, numpy and torch for each seeded
    index."""

    def __getitem__(self, idx: int) -> Any:
        if isinstance(idx, SeededIndex):
            random.seed(idx.seed)
            np.random.seed(idx.seed)
            # not torch.manual_seed: it seeds every kind of device, which takes longer than a small
            # image, and would reset the GPU's generator in the training process
            torch.default_generator.manual_seed(idx.seed)
            idx = int(idx)
        return super().__getitem__(idx)


@DATASETS.register_module()
class ClassBalancedDataset(MMEngineClassBalancedDataset):
    """mmengine's wrapper that repeats samples of rare classes, with a seed for each repetition.

    It calls ``get_cat_ids(idx)`` of the wrapped dataset, which datasets with multi-hot labels have.
    """

    def _get_ori_dataset_idx(self, idx):
        found = super()._get_ori_dataset_idx(idx)
        return SeededIndex(found, idx.seed) if isinstance(idx, SeededIndex) else found
