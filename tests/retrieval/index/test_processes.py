"""Processes that are killed while they write, and processes that write at the same time."""

import os
import signal
from multiprocessing import get_context

import numpy as np
import pytest

from rs_mm.errors import ConfigError
from rs_mm.retrieval.fusion import WeiCom
from rs_mm.retrieval.index import ExactIndex, Record, open_index, search_fused

from .conftest import DIM, needs, unit, uri

# a process of this kind has no threads of the parent's libraries
CONTEXT = get_context('forkserver')
CONTEXT.set_forkserver_preload(['rs_mm.retrieval.index'])
BLOCK = 10
KINDS = ['exact', 'lance', 'milvus', 'server']


def block(start):
    """Records and vectors; the same ones in every process."""
    records = [Record(f'{i:06d}', digest=f'{i:x}') for i in range(start, start + BLOCK)]
    return records, unit(BLOCK, start)


def fill(place, starts, told=None):
    """Adds the blocks that are not there yet, as a build does that goes on."""
    index = open_index(place, DIM, {})
    known = index.files()
    for start in starts:
        records, vectors = block(start)
        new = [i for i, record in enumerate(records) if record.name not in known]
        if new:
            index.add([records[i] for i in new], vectors[new])
        if told is not None:
            told.send(start)
    return index


def check(index, count):
    """All blocks are there, once, with their vectors; moments and answers are the true ones."""
    assert len(index) == count * BLOCK
    records, vectors = map(list, zip(*(block(BLOCK * i) for i in range(count))))
    records, vectors = sum(records, []), np.concatenate(vectors)
    np.testing.assert_array_equal(index.fetch([record.key for record in records]), vectors)
    reference = ExactIndex.of(vectors, records, {})
    np.testing.assert_allclose(index.moments().products, reference.moments().products, atol=1e-9)
    image, text = np.float32(unit(2, 10**6))
    import torch

    query = torch.from_numpy(image), torch.from_numpy(text)
    mine = search_fused(index, WeiCom(0.5), *query, 20)
    assert mine.keys == search_fused(reference, WeiCom(0.5), *query, 20).keys


@pytest.mark.parametrize('kind', KINDS)
def test_a_killed_build_goes_on(kind, tmp_path):
    needs(kind)
    place = uri(kind, tmp_path)
    near, far = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=fill, args=(place, range(0, 10**6, BLOCK), far))
    process.start()
    done = [near.recv() for _ in range(6)]
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert done == list(range(0, 60, BLOCK))
    known = open_index(place).files()
    assert {f'{i:06d}' for i in range(60)} <= set(known)
    count = len(known) // BLOCK + 3
    check(fill(place, range(0, count * BLOCK, BLOCK)), count)


@pytest.mark.parametrize('kind', KINDS)
def test_two_processes_write(kind, tmp_path):
    needs(kind)
    place = uri(kind, tmp_path)
    if kind == 'milvus':
        return refused_while_open(place)
    open_index(place, DIM, {})
    shares = range(0, 150, BLOCK), range(50, 200, BLOCK)  # some blocks are written by both
    processes = [CONTEXT.Process(target=fill, args=(place, share)) for share in shares]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    check(open_index(place), 20)


def refused_while_open(place):
    near, far = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=fill, args=(place, range(0, 10**6, BLOCK), far))
    process.start()
    near.recv()
    with pytest.raises(ConfigError, match='cannot be opened .* does another process have it open'):
        open_index(place)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert len(open_index(place)) >= BLOCK  # the lock ends with the process


def test_a_reader_meets_no_half_of_a_compaction(tmp_path):
    """An index that another process compacts again and again is read all the time."""
    place = uri('exact', tmp_path)
    fill(place, range(0, 200, BLOCK))
    near, far = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=rewrite, args=(place, far))
    process.start()
    index, query, expected = open_index(place), unit(1, 5)[0], None
    while not near.poll():
        hits = index.search(query, 5)
        expected = expected or hits.keys
        assert hits.keys == expected
    process.join()
    assert process.exitcode == 0
    check(open_index(place), 20)


def rewrite(place, told):
    index = open_index(place)
    for i in range(30):
        index.add(*block(BLOCK * (i % 20)))
        index.compact()
    told.send(None)


@pytest.mark.parametrize('moment', ['before', 'after'])
def test_a_writer_that_is_overtaken(tmp_path, monkeypatch, moment):
    """A server has no lock: another writer comes between the reading and the writing of one."""
    needs('server')
    place = uri('server', tmp_path)
    first, second = open_index(place, DIM, {}), open_index(place, DIM, {})
    first.add(*block(0))
    upsert = first._upsert

    def overtaken(records, vectors):
        if moment == 'after':
            upsert(records, vectors)
        second.add(*block(BLOCK))
        if moment == 'before':
            upsert(records, vectors)

    monkeypatch.setattr(first, '_upsert', overtaken)
    first.add(*block(2 * BLOCK))
    check(second, 3)
    check(first, 3)
