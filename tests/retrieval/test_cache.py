import json

import numpy as np
import pytest

from rs_mm.retrieval.cache import MISSING, UNREADABLE, FeatureCache, File, Part

IDENTITY = dict(arch='a', weights='w', preprocessing='p')
FILES = [File('a.png', 10, 1), File('b.png', 20, 2), File('bad.png', 5, 3), File('c.png', 30, 4)]


def value(file):
    return np.full(3, file.size, np.float32)


def fill(cache, files):
    """Writes what is missing, as extraction does; 'bad' files cannot be read."""
    rows = cache.plan(files)
    todo = list(np.flatnonzero(rows == MISSING))
    good = [i for i in todo if 'bad' not in files[i].name]
    part = Part(np.array(good, np.int64),
                np.array([value(files[i]) for i in good], np.float32).reshape(-1, 3),
                {int(i): 'damaged' for i in todo if i not in good})
    cache.write(files, rows, [part])
    return len(todo)


def check(cache, files):
    good = [file for file in files if 'bad' not in file.name]
    assert cache.names() == [file.name for file in good]
    np.testing.assert_array_equal(cache.features(), np.array([value(file) for file in good]))


@pytest.fixture
def cache(tmp_path):
    cache = FeatureCache(tmp_path / 'cache', IDENTITY)
    assert fill(cache, FILES) == 4
    return cache


def reopen(cache, **changes):
    return FeatureCache(cache.folder, {**IDENTITY, **changes})


def test_what_is_stored_is_reused(cache):
    again = reopen(cache)
    assert again.plan(FILES).tolist() == [0, 1, UNREADABLE, 2]
    check(again, FILES)
    assert again.unreadable() == {'bad.png': 'damaged'}
    before = again.stored['array']
    assert fill(again, FILES) == 0
    assert again.stored['array'] == before  # nothing was written


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
    assert again.plan(files).tolist() == [MISSING, 0, MISSING, UNREADABLE, 2]
    assert fill(again, files) == 2
    check(reopen(cache), files)


def test_removed_files_are_dropped_and_a_mended_one_is_read(cache):
    files = [FILES[3], File('good.png', 5, 3), FILES[0]]
    again = reopen(cache)
    assert fill(again, files) == 1
    check(reopen(cache), files)
    assert again.unreadable() == {}


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
    again = reopen(cache)
    monkeypatch.setattr('os.replace', lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fill(again, [*FILES, File('new.png', 1, 1)])
    monkeypatch.undo()
    check(reopen(cache), FILES)
