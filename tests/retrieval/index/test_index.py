"""The same tests for every back end."""

import socket
import threading
from pathlib import Path

import numpy as np
import pytest

from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.retrieval.index import ExactIndex, Moments, check_recall, make_filter, open_index

from .conftest import COUNT, DIM, IDENTITY, filled, needs, records, unit, uri, vectors

KINDS = ['exact', 'lance', 'milvus', 'server']
ODD = 'set/it\'s "0004".tif'
FILTERS = {
    'bbox': (
        dict(bbox=(-3, 1, 2, 4)),
        lambda r: r.west <= 2 and r.east >= -3 and r.south <= 4 and r.north >= 1,
    ),
    'date line': (
        dict(bbox=(8, 0, -9, 3)),
        lambda r: (r.east >= 8 or -180 <= r.west <= -9) and r.south <= 3 and r.north >= 0,
    ),
    'after': (dict(after='2015'), lambda r: r.date >= '2015'),
    'before': (dict(before='2014-06-12'), lambda r: r.date and r.date <= '2014-06-12'),
    'label': (dict(labels=['har_bor']), lambda r: 'har_bor' in r.labels),
    'odd label': (dict(labels=["o'%|x"]), lambda r: "o'%|x" in r.labels),
    'both labels': (dict(labels=['har_bor', "o'%|x"]), lambda r: len(r.labels) == 2),
    'part of a label': (dict(labels=['harXbor']), lambda r: False),
    'where': (
        dict(where=f'sensor == "S2" and not (100 < size <= 300) or name == {ODD!r}'),
        lambda r: (r.sensor == 'S2' and not 100 < r.size <= 300) or '0004' in r.name,
    ),
    'list': (
        dict(where="sensor in ['S1', 'S3'] and width != 0"),
        lambda r: r.sensor == 'S1' and r.width,
    ),
    'not in': (
        dict(where="'har_bor' not in labels and 3 > south"),
        lambda r: 'har_bor' not in r.labels and r.south < 3,
    ),
}


def true_best(query, chosen, k):
    products = vectors().astype(np.float64) @ query
    keys = [record.key for record in records()]
    order = sorted(chosen, key=lambda i: (-round(products[i], 12), keys[i]))[:k]
    return [keys[i] for i in order], products[order]


def test_search_is_exact(kept):
    for query in [*unit(3, 9), vectors()[3].astype(np.float64)]:
        hits = kept.search(query, 20)
        keys, products = true_best(query, range(COUNT), 20)
        assert hits.keys == keys
        np.testing.assert_allclose(hits.similarities, products, atol=1e-12)
    assert kept.is_exact() != kept.uri.startswith('milvus+') and len(kept) == COUNT
    assert check_recall(kept, 10) == 1


@pytest.mark.parametrize('name', FILTERS)
def test_filters(kept, name):
    options, meets = FILTERS[name]
    where = make_filter(**options)
    chosen = [i for i, record in enumerate(records()) if meets(record)]
    assert kept.count(where) == len(chosen)
    query = unit(1, 4)[0]
    assert kept.search(query, 15, where).keys == true_best(query, chosen, 15)[0]
    moments = kept.moments(where)
    assert moments.count == len(chosen)
    np.testing.assert_allclose(
        moments.total, vectors()[chosen].astype(np.float64).sum(0), atol=1e-9
    )


def test_records_come_back(kept):
    wanted = [records()[i] for i in (5, 0, 12, 599)]
    assert kept.records([record.key for record in wanted]) == wanted
    np.testing.assert_array_equal(
        kept.fetch([record.key for record in wanted]), vectors()[[5, 0, 12, 599]]
    )
    with pytest.raises(KeyError, match='nobody'):
        kept.fetch(['nobody'])
    state = kept.files()[wanted[0].name]
    assert state == ([wanted[0].key], 5, 10**15 + 5, '5')
    found = {key: vector for keys, block in kept.scan() for key, vector in zip(keys, block)}
    assert len(found) == COUNT
    np.testing.assert_array_equal(found[wanted[3].key], vectors()[599])
    assert len(kept.sample(50)) == 50 and len(kept.sample(10**6)) == COUNT


@pytest.mark.parametrize('kind', KINDS)
def test_changes(kind, tmp_path):
    index = filled(kind, tmp_path)
    items, rows = records(), vectors()
    changed = unit(40, 5)
    index.add(items[100:140], changed)
    index.remove([record.key for record in items[300:400]] + ['nobody'])
    rows[100:140] = changed
    chosen = [*range(300), *range(400, COUNT)]
    assert len(index) == 500
    for state in (index, open_index(uri(kind, tmp_path), DIM, IDENTITY)):
        moments, expected = state.moments(), Moments.empty(DIM)
        expected.update(rows[chosen])
        np.testing.assert_allclose(moments.products, expected.products, atol=1e-9)
        assert moments.count == 500
        assert state.search(changed[3], 1).keys == [items[103].key]
        if kind == 'milvus':
            break  # a file has one client
    index.compact()
    assert len(index) == 500 and index.search(changed[3], 1).keys == [items[103].key]
    np.testing.assert_array_equal(index.fetch([items[450].key]), rows[[450]])
    assert index.moments().count == 500
    if kind == 'exact':
        assert sum(path.stat().st_size for path in tmp_path.glob('*/vectors*')) == 500 * DIM * 4


@pytest.mark.parametrize('kind', KINDS)
def test_another_model_is_refused(kind, tmp_path):
    needs(kind)
    place = uri(kind, tmp_path)
    with pytest.raises(MissingFileError, match='no index .*build_index.py'):
        open_index(place)
    index = open_index(place, DIM, IDENTITY)
    index.add(records(3), vectors()[:3])
    with pytest.raises(DataError, match=r'2.* is NaN or infinite'):
        index.add(records(3), np.array([*vectors()[:2], np.full(DIM, np.nan)]))
    with pytest.raises(DataError, match='expected .3, 16.'):
        index.add(records(3), vectors()[:2])
    with pytest.raises(DataError, match='two records have the key'):
        index.add(records(1) * 2, vectors()[:2])
    assert len(index) == 3
    if kind == 'milvus':
        index._milvus.close()
    with pytest.raises(ConfigError, match='holds vectors of 16 dimensions, the model makes 8'):
        open_index(place, 8, IDENTITY)
    with pytest.raises(ConfigError, match='another weights built this index'):
        open_index(place, DIM, dict(IDENTITY, weights='w2'))
    assert open_index(place).identity == IDENTITY


def test_a_writer_waits_for_another(tmp_path, monkeypatch):
    from rs_mm.retrieval.index import exact

    index = filled('exact', tmp_path)
    monkeypatch.setattr(exact, '_WAIT', 0.2)
    other = open_index(uri('exact', tmp_path))
    with index._writing():
        assert other.search(vectors()[5], 1).keys == [records()[5].key]  # a reader does not
        with pytest.raises(ConfigError, match='another process has been writing this index'):
            other.remove([records()[5].key])
    other.remove([records()[5].key])
    assert len(index) == COUNT - 1


def test_a_broken_off_addition_leaves_what_was_there(tmp_path, monkeypatch):
    index = filled('exact', tmp_path)
    more = [record.__class__(name=f'new/{i}') for i, record in enumerate(records(20))]
    with monkeypatch.context() as patch:
        patch.setattr(ExactIndex, '_insert', lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            index.add(more, unit(20, 6))
    again = open_index(uri('exact', tmp_path))
    assert len(again) == COUNT and again.moments().count == COUNT
    again.add(more, unit(20, 6))
    assert again.search(unit(20, 6)[4], 1).keys == ['new/4']


def test_damage_is_told(tmp_path):
    filled('exact', tmp_path)
    array = next(tmp_path.glob('exact/vectors*'))
    array.write_bytes(array.read_bytes()[:-1])
    with pytest.raises(DataError, match='holds 599 vectors, the index knows 600'):
        open_index(uri('exact', tmp_path)).search(vectors()[0], 1)
    (tmp_path / 'bad').mkdir()
    (tmp_path / 'bad/index.sqlite').write_bytes(b'no database at all' * 100)
    with pytest.raises(DataError, match='is not an index, or is damaged'):
        open_index(str(tmp_path / 'bad'))


@pytest.mark.parametrize(
    'place,message',
    [
        ('ftp://x', 'has an unknown kind'),
        ('lance://', 'has no path'),
        ('milvus://x.db?collection=a-b', 'has letters, digits'),
        ('lance://x?colection=a', 'has no option "colection"; it has memory'),
        ('milvus://x.db?timeout=soon', 'timeout is a number above 0, not "soon"'),
        ('x?memory=0', 'memory is a number above 0'),
    ],
)
def test_bad_addresses(place, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        open_index(place, DIM)


def test_a_server_that_does_not_answer(tmp_path, monkeypatch):
    needs('milvus')
    from rs_mm.retrieval.index import milvus_client

    monkeypatch.setattr(milvus_client, 'CONNECT', 1)
    with pytest.raises(ConfigError, match=r'127.0.0.1:9 was tried for \d.\d s of at most 1 s'):
        open_index('milvus+http://127.0.0.1:9', DIM)
    with socket.socket() as silent:
        silent.bind(('127.0.0.1', 0))
        silent.listen(8)  # connections are taken, and nobody says a word
        address = f'milvus+http://127.0.0.1:{silent.getsockname()[1]}'
        with pytest.raises(ConfigError, match='does not answer: .* was tried for 1.. s of at most'):
            open_index(address, DIM)


def test_a_server_that_stops_answering(tmp_path):
    needs('milvus')
    speaking = threading.Event()
    speaking.set()
    port = forwarded(int(uri('server', tmp_path).rpartition(':')[2]), speaking)
    index = open_index(f'milvus+http://127.0.0.1:{port}?timeout=2', DIM, IDENTITY)
    index.add(records(3), vectors()[:3])
    speaking.clear()
    for ask in (lambda: index.search(vectors()[0], 1), lambda: list(index.scan())):
        with pytest.raises(ConfigError, match=r'failed after \d.\d s of at most 2 s .*\?timeout='):
            ask()
    speaking.set()
    assert index.search(vectors()[1], 1).keys == [records()[1].key]


def forwarded(port, speaking):
    """A port that hands everything on to another one, while ``speaking`` is set."""
    listener = socket.create_server(('127.0.0.1', 0))

    def copy(source, target):
        while data := source.recv(1 << 16):
            speaking.wait()
            target.sendall(data)

    def accept():
        while True:
            near, far = listener.accept()[0], socket.create_connection(('127.0.0.1', port))
            for pair in ((near, far), (far, near)):
                threading.Thread(target=copy, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def test_a_filter_that_leaves_few_is_exact(kept):
    where = make_filter(where='size >= 590')
    assert kept.is_exact(where)
    query = unit(1, 4)[0]
    keys, found = kept.candidates(query, 4, where)
    assert {records()[i].key for i in np.argsort(-vectors()[590:] @ query)[:4] + 590} <= set(keys)
    np.testing.assert_array_equal(found, kept.fetch(keys))


@pytest.mark.parametrize('kind', ['exact', 'lance'])
def test_memory_is_bounded(kind, tmp_path):
    filled(kind, tmp_path)
    index = open_index(f'{uri(kind, tmp_path)}?memory=0.01')
    query = unit(1, 4)[0]
    assert index.search(query, 15).keys == true_best(query, range(COUNT), 15)[0]
    assert index.moments().count == sum(len(keys) for keys, _ in index.scan()) == COUNT


def test_a_part_of_the_file_stays_in_memory(tmp_path):
    from rs_mm.retrieval.index.mapped_rows import MappedRows

    rows = np.random.default_rng(0).random((4000, 1024), np.float32)
    rows.tofile(tmp_path / 'rows')

    def resident():
        if not Path('/proc/self/status').is_file():
            pytest.skip('needs /proc')
        lines = Path('/proc/self/status').read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith('RssFile')) / 1024

    before = resident()
    mapped = MappedRows(tmp_path / 'rows', 1024, memory=4)
    assert mapped.array.sum(dtype=np.float64) == rows.sum(dtype=np.float64)
    assert resident() - before > 12
    mapped.forget()
    assert resident() - before < 6
    np.testing.assert_array_equal(mapped.array, rows)  # what was given back is read again


@pytest.mark.parametrize(
    'where,message',
    [
        ('sensr == "S2"', "no field sensr; did you mean 'sensor'"),
        ('colour == "S2"', 'no field colour; it has name, path'),
        ('north > "x"', "north is compared with a number, not 'x'"),
        ('sensor == S2', 'a text in quotes, not S2'),
        ('north', 'is not a comparison'),
        ('__import__("os").system("x") == 1', 'no field __import__'),
        ('north > 1e999', 'is not finite'),
        ('sensor = "S2"', 'cannot be read'),
        ('labels == "a"', 'write a label as'),
        ('sensor in "S2"', '"in" takes a list'),
        ('north is 3', 'not "is"'),
    ],
)
def test_bad_filters(where, message):
    with pytest.raises(ConfigError, match=message):
        make_filter(where=where)


def test_bad_filter_options():
    for options, message in (
        (dict(bbox=(0, 5, 1, 4)), 'south is not above north'),
        (dict(bbox=(0, 5, 1)), 'give west, south, east and north'),
        (dict(after='yesterday'), "after='yesterday': write a date as"),
    ):
        with pytest.raises(ConfigError, match=message):
            make_filter(**options)
    assert make_filter() is None


def test_an_index_of_another_version_is_refused(tmp_path):
    index = filled('exact', tmp_path)
    index._write_state('index.json', b'{"version": 99, "dims": 16, "identity": {}}')
    with pytest.raises(ConfigError, match='the index has version 99, this program reads 1'):
        open_index(uri('exact', tmp_path))


def test_the_lock_of_a_folder(tmp_path):
    from rs_mm.retrieval.index.locking import folder_lock

    with (
        folder_lock(tmp_path, 'lance://x'),
        pytest.raises(ConfigError, match='lance://x: another process has been writing'),
        folder_lock(tmp_path, 'lance://x', wait=0.1),
    ):
        pass
    with folder_lock(tmp_path, 'lance://x', wait=0.1):
        pass
