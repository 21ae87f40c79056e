import json

import numpy as np
import pytest

from rs_mm.retrieval.cache import MISSING, FeatureCache
from rs_mm.retrieval.shards import File, drop_shards, read_shards, write_shard

IDENTITY = dict(arch='a', weights='w', preprocessing='p')
FILES = [File('a.png', 10, 1), File('b.png', 20, 2), File('bad.png', 5, 3), File('c.png', 30, 4)]


def value(file):
    return np.full(3, file.size, np.float32)


def fill(cache, files):
    """Writes what is missing, as extraction does; 'bad' files cannot be read."""
    rows = cache.plan(files)
    todo = list(np.flatnonzero(rows == MISSING))
    good = [i for i in todo if 'bad' not in files[i].name]
    for one in good:  # a shard per file, not in their order
        write_shard(cache.folder, cache.identity, [files[one]], value(files[one])[None], {})
    write_shard(
        cache.folder,
        cache.identity,
        [],
        np.zeros((0, 0), np.float32),
        {files[i]: 'damaged' for i in todo if i not in good},
    )
    cache.write(
        files,
        rows,
        read_shards(cache.folder, cache.identity)[0],
        [f'data/{file.name}' for file in files],
    )
    drop_shards(cache.folder)
    return len(todo)


def check(cache, files):
    good = [file for file in files if 'bad' not in file.name]
    assert cache.names() == [file.name for file in good]
    np.testing.assert_array_equal(cache.features(), np.array([value(file) for file in good]))
    stored = cache.stored
    assert (stored['count'], stored['dims'], stored['dtype']) == (len(good), 3, 'float32')
    assert stored['paths'] == [f'data/{file.name}' for file in good]


@pytest.fixture
def cache(tmp_path):
    cache = FeatureCache(tmp_path / 'cache', IDENTITY)
    assert fill(cache, FILES) == 4
    return cache


def reopen(cache, **changes):
    return FeatureCache(cache.folder, {**IDENTITY, **changes})


def test_what_is_stored_is_reused(cache):
    again = reopen(cache)
    assert again.plan(FILES).tolist() == [0, 1, MISSING, 2]
    check(again, FILES)
    assert again.unreadable() == {'bad.png': 'damaged'}
    before = again.stored['array']
    assert fill(again, FILES) == 1  # what could not be read is tried again
    assert again.stored['array'] == before  # nothing was written
    assert sorted(path.name for path in cache.folder.iterdir()) == [before, 'features.json']


@pytest.mark.parametrize('key', ['arch', 'weights', 'preprocessing'])
def test_of_another_model_nothing_is_reused(cache, key):
    other = reopen(cache, **{key: 'x'})
    assert other.why_rebuilt == f'another {key} made it'
    assert (other.plan(FILES) == MISSING).all()
    fill(other, FILES[:2])
    check(reopen(cache, **{key: 'x'}), FILES[:2])
    assert len(list(cache.folder.glob('features-*.npy'))) == 1  # the old one is gone


def test_new_and_changed_files_alone_are_computed(cache):
    files = [File('0.png', 7, 9), FILES[0], File('b.png', 21, 8), FILES[2], FILES[3]]
    again = reopen(cache)
    assert again.plan(files).tolist() == [MISSING, 0, MISSING, MISSING, 2]
    assert fill(again, files) == 3
    check(reopen(cache), files)


def test_removed_files_are_dropped_and_a_mended_one_is_read(cache):
    files = [FILES[3], File('good.png', 5, 3), FILES[0]]
    again = reopen(cache)
    assert fill(again, files) == 1
    check(reopen(cache), files)
    assert again.unreadable() == {}


def test_a_file_that_can_be_read_again_is_no_longer_missing(cache):
    """Its size and time may be what they were: a network was down, a record was restored."""
    again = reopen(cache)
    write_shard(cache.folder, IDENTITY, FILES[2:3], value(FILES[2])[None], {})
    again.write(
        FILES,
        again.plan(FILES),
        read_shards(cache.folder, IDENTITY)[0],
        [f'data/{file.name}' for file in FILES],
    )
    assert again.names() == [file.name for file in FILES] and not again.unreadable()
    np.testing.assert_array_equal(again.features(), np.array([value(file) for file in FILES]))


@pytest.mark.parametrize('damage', ['json', 'array', 'length', 'version'])
def test_a_damaged_cache_is_rebuilt(cache, damage):
    path = cache.folder / 'features.json'
    stored = json.loads(path.read_text())
    if damage == 'json':
        path.write_text('{"version"')
    elif damage == 'array':
        (cache.folder / stored['array']).write_bytes(b'nothing')
    elif damage == 'length':
        np.save(cache.folder / stored['array'], np.zeros((2, 3), np.float32))
    else:
        path.write_text(json.dumps(dict(stored, version=0)))
    again = reopen(cache)
    assert again.why_rebuilt
    assert fill(again, FILES) == 4
    check(reopen(cache), FILES)


def test_a_run_broken_off_leaves_the_previous_state(cache, monkeypatch):
    again, files = reopen(cache), [*FILES, File('new.png', 1, 1)]

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(FeatureCache, '_commit', killed)
    with pytest.raises(KeyboardInterrupt):
        fill(again, files)
    monkeypatch.undo()
    again = reopen(cache)
    check(again, FILES)
    shards, _ = read_shards(cache.folder, IDENTITY)
    again.write(files, again.plan(files), shards, [f'data/{file.name}' for file in files])
    check(reopen(cache), files)
    assert len(list(cache.folder.glob('features-*'))) == 1  # the abandoned array is gone


def test_shards_are_found_by_what_made_them(tmp_path):
    write_shard(tmp_path, IDENTITY, FILES[:1], value(FILES[0])[None], {FILES[2]: 'damaged'})
    (shard,), others = read_shards(tmp_path, IDENTITY)
    assert shard.files == FILES[:1] and shard.unreadable == {FILES[2]: 'damaged'} and others == 0
    np.testing.assert_array_equal(shard.features(), [value(FILES[0])])
    assert read_shards(tmp_path, {**IDENTITY, 'weights': 'x'}) == ([], 1)
    # half-written and damaged ones are no shards
    (tmp_path / 'shards/half.tmp').write_bytes(shard.path.read_bytes()[:100])
    (tmp_path / 'shards/cut.npz').write_bytes(shard.path.read_bytes()[:100])
    assert read_shards(tmp_path, IDENTITY)[0] == [shard]
    drop_shards(tmp_path)
    assert not (tmp_path / 'shards').exists()


def test_a_cache_without_identity_takes_what_is_there(cache):
    check(FeatureCache(cache.folder), FILES)
