"""Samplers whose order and augmentation depend only on the seed and the position.

Position ``p`` of the global order goes to process ``p % world_size``, so a global batch holds the
same samples for any number of processes. Each index carries the seed of its augmentation
(:class:`~rs_mm.datasets.seeding.SeededIndex`), so a resumed run has the same draws as an
uninterrupted run.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator, Sized

import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from rs_mm.datasets.seeding import SeededIndex
from rs_mm.errors import DataError
from rs_mm.registry import DATA_SAMPLERS


def derive_seed(*parts: int) -> int:
    """Makes a seed in [0, 2**32) from several integers, equal on every machine and Python
    version."""
    return zlib.crc32(','.join(map(str, parts)).encode())


def permutation(size: int, seed: int, epoch: int) -> list[int]:
    """Returns the shuffled indices 0..size-1 of one epoch, without replaying earlier epochs."""
    generator = torch.Generator().manual_seed(derive_seed(seed, epoch))
    return torch.randperm(size, generator=generator).tolist()


class _SeededSampler(Sampler):
    def __init__(self, dataset, shuffle=True, seed=None):
        if len(dataset) == 0:
            raise DataError(
                f'{type(dataset).__name__} is empty: no sample was found under '
                f'{getattr(dataset, "data_root", None)!r}.'
            )
        self.rank, self.world_size = get_dist_info()
        self.dataset, self.shuffle = dataset, shuffle
        self.seed = sync_random_seed() if seed is None else seed
        self.size = len(dataset)

    def _order(self, epoch):
        return permutation(self.size, self.seed, epoch) if self.shuffle else range(self.size)


@DATA_SAMPLERS.register_module()
class InfiniteSampler(_SeededSampler):
    """A sampler for iteration-based training: an endless series of permutations.

    Args:
        dataset: the dataset.
        shuffle: whether each epoch is permuted. Default: True.
        seed: seed of the order and of the augmentation; None draws a seed that all processes share.
            The Runner passes its seed.
    """

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None) -> None:
        super().__init__(dataset, shuffle, seed)
        self.start = 0

    def skip_to(self, position: int, seed: int | None = None) -> None:
        """Makes the next iterator start at ``position`` of the global order."""
        self.start = position
        if seed is not None:
            self.seed = seed

    def __iter__(self) -> Iterator[int]:
        first = self.start + self.rank
        for epoch in itertools.count(first // self.size):
            begin = epoch * self.size
            order = self._order(epoch)
            # positions of this process within the epoch
            offset = max(first, begin + (first - begin) % self.world_size) - begin
            for place in range(offset, self.size, self.world_size):
                yield SeededIndex(order[place], derive_seed(self.seed, begin + place, 1))

    def __len__(self) -> int:
        return self.size

    def set_epoch(self, epoch: int) -> None:
        """Does nothing, because the order is endless."""


@DATA_SAMPLERS.register_module()
class DefaultSampler(_SeededSampler):
    """A sampler with one pass over the dataset per epoch, for training by epochs and for
    evaluation.

    Args:
        dataset: the dataset.
        shuffle: whether each epoch is permuted. Default: True.
        seed: see :class:`InfiniteSampler`.
        round_up: whether to fill up the order from its start, so every process gets equally many
            samples. Evaluation drops the repeated samples again. Default: True.
    """

    def __init__(
        self, dataset: Sized, shuffle: bool = True, seed: int | None = None, round_up: bool = True
    ) -> None:
        super().__init__(dataset, shuffle, seed)
        self.epoch, self.round_up, self.start = 0, round_up, 0

    def skip_to(self, position: int) -> None:
        """Makes the next iterator start at ``position`` of its epoch's global order."""
        self.start = position

    def __iter__(self) -> Iterator[int]:
        start, self.start = self.start, 0
        order = list(self._order(self.epoch))
        if self.round_up:
            order = [order[i % self.size] for i in range(len(self) * self.world_size)]
        for place in range(start + self.rank, len(order), self.world_size):
            seed = derive_seed(self.seed, self.epoch * self.size + place, 2)
            yield SeededIndex(order[place], seed)

    def __len__(self) -> int:
        if self.round_up:
            return -(-self.size // self.world_size)
        return len(range(self.rank, self.size, self.world_size))

    def set_epoch(self, epoch: int) -> None:
        """Chooses the permutation of the next iterator."""
        self.epoch = epoch
