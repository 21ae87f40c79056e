"""Seeds of samples reach the datasets inside mmengine's wrappers."""

import numpy as np
import pytest
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset

from rs_mm.datasets.seeding import ClassBalancedDataset, SeededIndex, SeededSampleMixin


class Noise(SeededSampleMixin, BaseDataset):
    """Ten samples of a random number each."""

    def load_data_list(self):
        return [{} for _ in range(10)]

    def prepare_data(self, idx):
        return idx, np.random.rand()

    def get_cat_ids(self, idx):
        return [int(idx == 3)]


@pytest.mark.parametrize(
    'wrap', [lambda: ConcatDataset([Noise(), Noise(), Noise()]), lambda: RepeatDataset(Noise(), 3)]
)
def test_every_part_is_seeded(wrap):
    dataset, alone = wrap(), Noise()
    for index in range(30):
        np.random.seed(index)
        place, drawn = dataset[SeededIndex(index, 5)]
        assert place == index % 10 and type(place) is int
        assert drawn == alone[SeededIndex(0, 5)][1]


def test_repetitions_of_a_rare_class_are_seeded_apart():
    # class 1 is in a tenth of the samples: repeated ceil(sqrt(0.9 / 0.1)) = 3 times
    dataset = ClassBalancedDataset(Noise(), oversample_thr=0.9)
    assert [dataset[i][0] for i in range(len(dataset))] == [0, 1, 2, 3, 3, 3, 4, 5, 6, 7, 8, 9]
    first, again, other = (dataset[SeededIndex(i, seed)] for i, seed in ((3, 5), (4, 5), (5, 6)))
    assert first == again and first[0] == other[0] and first[1] != other[1]
