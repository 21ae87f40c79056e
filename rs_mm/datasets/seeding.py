"""Augmentation that depends on the position in training, not on which worker draws it."""

import random

import numpy as np
import torch


class SeededIndex(int):
    """A sample's index that carries the seed of its augmentation.

    rs_mm's samplers yield these, so that a sample is augmented the same way whatever the number
    of workers or processes, and the same way again after a resume.

    Args:
        index (int): index into the dataset.
        seed (int): seed of every random draw made for this sample, in [0, 2**32).
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

    def __getitem__(self, idx):
        if isinstance(idx, SeededIndex):
            random.seed(idx.seed)
            np.random.seed(idx.seed)
            # not torch.manual_seed: it asks every kind of device, which takes longer than small
            # images do, and in the training process would reset the generator of the GPU
            torch.default_generator.manual_seed(idx.seed)
            idx = int(idx)
        return super().__getitem__(idx)
