"""Samplers that use multi-hot labels: for rare classes, and for losses that compare samples."""

from __future__ import annotations

from collections.abc import Sized

import numpy as np

from rs_mm.errors import DataError
from rs_mm.registry import DATA_SAMPLERS

from .samplers import InfiniteSampler, derive_seed, permutation


class _LabelSampler(InfiniteSampler):
    """The base of samplers with the samples of each label."""

    def __init__(self, dataset, seed=None):
        super().__init__(dataset, shuffle=True, seed=seed)
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        if not all('gt_label' in info for info in infos):
            raise DataError(
                f'{type(self).__name__} needs samples with a multi-hot `gt_label`, '
                f'which {type(dataset).__name__} does not have.'
            )
        self.labels = np.stack([np.asarray(info['gt_label']) for info in infos]) > 0
        self.members = [np.flatnonzero(column) for column in self.labels.T]


@DATA_SAMPLERS.register_module()
class ClassBalancedSampler(_LabelSampler):
    """A sampler with an endless order in which every class is drawn equally often.

    For each position a class is drawn, then a sample that has it; samples of rare classes repeat.

    Args:
        dataset: its ``get_data_info(i)`` has a multi-hot ``gt_label``.
        seed: seed of the order.
    """

    def _order(self, epoch):
        generator = np.random.default_rng(derive_seed(self.seed, epoch))
        present = [members for members in self.members if len(members)]
        classes = generator.integers(len(present), size=self.size)
        return [int(generator.choice(present[c])) for c in classes]


@DATA_SAMPLERS.register_module()
class PairSampler(_LabelSampler):
    """A sampler with an endless order of pairs of samples that share a label.

    In every global batch of even size each sample then has a positive, which metric losses need.
    This holds for any number of processes, because these losses get the global batch. The partner
    is chosen by drawing one of the sample's labels, then another sample with this label; a sample
    that shares no label with any other is followed by itself.

    Args:
        dataset: its ``get_data_info(i)`` has a multi-hot ``gt_label``.
        seed: seed of the order.
    """

    def __init__(self, dataset: Sized, seed: int | None = None) -> None:
        super().__init__(dataset, seed)
        self.size = 2 * len(dataset)
        shared = np.array([len(members) > 1 for members in self.members])
        self.choices = [np.flatnonzero(row) for row in self.labels & shared]

    def _order(self, epoch):
        generator = np.random.default_rng(derive_seed(self.seed, epoch, 1))
        order = []
        for anchor in permutation(len(self.dataset), self.seed, epoch):
            order += [anchor, self._partner(anchor, generator)]
        return order

    def _partner(self, anchor, generator):
        if not len(self.choices[anchor]):
            return anchor
        members = self.members[generator.choice(self.choices[anchor])]
        place = np.searchsorted(members, anchor)
        # uniform over the other samples: skip the position of the anchor
        drawn = generator.integers(len(members) - 1)
        return int(members[drawn + (drawn >= place)])
