import pickle

import pytest

from rs_mm.datasets.seeding import SeededIndex
from rs_mm.engine import samplers
from rs_mm.errors import DataError


def ranks(monkeypatch, kind, world, take, start=0, **kwargs):
    """What each of ``world`` processes draws first."""
    drawn = []
    for rank in range(world):
        monkeypatch.setattr(samplers, 'get_dist_info', lambda rank=rank: (rank, world))
        sampler = getattr(samplers, kind)(range(10), seed=3, **kwargs)
        if start:
            sampler.skip_to(start)
        stream = iter(sampler)
        drawn.append([next(stream) for _ in range(take // world)])
    return drawn


@pytest.mark.parametrize('world', [1, 2, 3, 4])
def test_global_batch_does_not_depend_on_world_size(monkeypatch, world):
    one = ranks(monkeypatch, 'InfiniteSampler', 1, 48)[0]
    many = ranks(monkeypatch, 'InfiniteSampler', world, 48)
    for step in range(4):  # batches of 12
        expected = {(int(i), i.seed) for i in one[12 * step : 12 * step + 12]}
        share = 12 // world
        got = {(int(i), i.seed) for rank in many for i in rank[share * step : share * step + share]}
        assert got == expected


@pytest.mark.parametrize('world', [1, 2, 3, 4])
@pytest.mark.parametrize('start', [12, 36, 120])
def test_skip_equals_replay(monkeypatch, world, start):
    whole = ranks(monkeypatch, 'InfiniteSampler', world, start + 36)
    skipped = ranks(monkeypatch, 'InfiniteSampler', world, 36, start=start)
    for full, late in zip(whole, skipped):
        assert [(i, i.seed) for i in full[start // world :]] == [(i, i.seed) for i in late]


def test_every_epoch_is_a_permutation(monkeypatch):
    drawn = ranks(monkeypatch, 'InfiniteSampler', 1, 40)[0]
    epochs = [drawn[k : k + 10] for k in range(0, 40, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_default_sampler_rounds_up_and_reshuffles(monkeypatch):
    drawn = ranks(monkeypatch, 'DefaultSampler', 4, 12)
    assert sorted(set(sum(drawn, []))) == list(range(10))
    sampler = samplers.DefaultSampler(range(10), seed=3)
    first = list(sampler)
    sampler.set_epoch(1)
    assert list(sampler) != first


def test_seed_survives_pickling():
    index = pickle.loads(pickle.dumps(SeededIndex(7, 11)))
    assert index == 7 and index.seed == 11


def test_empty_dataset_is_an_error():
    with pytest.raises(DataError, match='is empty'):
        samplers.InfiniteSampler([], seed=0)


class Labelled:
    """Ten samples: class 0 everywhere but in the last, class 1 in two, class 2 in the last."""

    def __len__(self):
        return 10

    def get_data_info(self, i):
        return dict(gt_label=[int(i < 9), int(i in (2, 5)), int(i == 9)])


def test_class_balanced_draws_each_class_equally():
    stream = iter(samplers_of('ClassBalancedSampler')(Labelled(), seed=0))
    drawn = [int(next(stream)) for _ in range(3000)]
    assert 0.3 < sum(i == 9 for i in drawn) / 3000 < 0.37
    assert sum(i in (2, 5) for i in drawn) / 3000 > 0.33


def test_every_pair_shares_a_label():
    stream = iter(samplers_of('PairSampler')(Labelled(), seed=0))
    drawn = [int(next(stream)) for _ in range(400)]
    for anchor, partner in zip(drawn[::2], drawn[1::2]):
        assert (anchor == partner) == (anchor == 9)
        labels = [Labelled().get_data_info(i)['gt_label'] for i in (anchor, partner)]
        assert any(a and b for a, b in zip(*labels))
    assert sorted(drawn[:20:2]) == list(range(10))


def test_label_samplers_need_labels():
    class Unlabelled(Labelled):
        def get_data_info(self, i):
            return {}

    with pytest.raises(DataError, match='needs samples with a multi-hot `gt_label`'):
        samplers_of('PairSampler')(Unlabelled(), seed=0)


def samplers_of(name):
    from rs_mm.registry import DATA_SAMPLERS

    return DATA_SAMPLERS.get(name)
