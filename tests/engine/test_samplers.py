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
        expected = {(int(i), i.seed) for i in one[12 * step:12 * step + 12]}
        share = 12 // world
        got = {(int(i), i.seed) for rank in many for i in rank[share * step:share * step + share]}
        assert got == expected


@pytest.mark.parametrize('world', [1, 2, 3, 4])
@pytest.mark.parametrize('start', [12, 36, 120])
def test_skip_equals_replay(monkeypatch, world, start):
    whole = ranks(monkeypatch, 'InfiniteSampler', world, start + 36)
    skipped = ranks(monkeypatch, 'InfiniteSampler', world, 36, start=start)
    for full, late in zip(whole, skipped):
        assert [(i, i.seed) for i in full[start // world:]] == [(i, i.seed) for i in late]


def test_every_epoch_is_a_permutation(monkeypatch):
    drawn = ranks(monkeypatch, 'InfiniteSampler', 1, 40)[0]
    epochs = [drawn[k:k + 10] for k in range(0, 40, 10)]
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
