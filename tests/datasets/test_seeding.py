"""Seeds of samples reach the datasets inside mmengine's wrappers."""

import numpy as np
import pytest
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset

from rs_mm.datasets.seeding import SeededIndex, SeededSampleMixin


class Noise(SeededSampleMixin, BaseDataset):
    """Ten samples of a random number each."""

    def load_data_list(self):
        return [{} for _ in range(10)]

    def prepare_data(self, idx):
        return idx, np.random.rand()


@pytest.mark.parametrize('wrap', [
    lambda: ConcatDataset([Noise(), Noise(), Noise()]), lambda: RepeatDataset(Noise(), 3)])
def test_every_part_is_seeded(wrap):
    dataset, alone = wrap(), Noise()
    for index in range(30):
        np.random.seed(index)
        place, drawn = dataset[SeededIndex(index, 5)]
        assert place == index % 10 and type(place) is int
        assert drawn == alone[SeededIndex(0, 5)][1]
