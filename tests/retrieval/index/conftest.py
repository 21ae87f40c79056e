"""One archive in every back end."""

import atexit
from functools import lru_cache

import numpy as np
import pytest

from rs_mm.retrieval.index import NOWHERE, Record, open_index

DIM, COUNT = 16, 600
IDENTITY = dict(arch='toy', weights='w1')


def needs(kind):
    if kind == 'lance':
        pytest.importorskip('lancedb', reason='needs the extra index')
    if kind in ('milvus', 'server'):
        pytest.importorskip('milvus_lite', reason='needs the extra milvus')


@lru_cache
def server(folder):
    """Address of a server that speaks Milvus's protocol: Milvus Lite, asked over the network."""
    from milvus_lite.adapter.grpc.server import start_server_in_thread

    running, database, port = start_server_in_thread(str(folder / 'server'))
    atexit.register(lambda: (running.stop(0), database.close()))
    return f'milvus+http://127.0.0.1:{port}'


def uri(kind, folder):
    if kind == 'server':
        return server(folder)
    return {
        'exact': str(folder / 'exact'),
        'lance': f'lance://{folder}/lance',
        'milvus': f'milvus://{folder}/m.db',
    }[kind]


def unit(rows, seed):
    vectors = np.random.default_rng(seed).standard_normal((rows, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@lru_cache
def records(count=COUNT):
    made = []
    for i in range(count):
        west, south = (i % 20) - 10, i // 60
        place = (west, south, west + 0.5, south + 0.5) if i % 7 else NOWHERE
        made.append(
            Record(
                name=f'set/it\'s "{i:04d}".tif',
                path=f'/data/{i}.tif',
                x=64 * (i % 2),
                y=0,
                width=64 * (i % 3 == 0),
                height=64 * (i % 3 == 0),
                west=place[0],
                south=place[1],
                east=place[2],
                north=place[3],
                date=f'20{10 + i % 12}-06-{1 + i % 28:02d}' if i % 5 else '',
                sensor=('S1', 'S2')[i % 2],
                labels=tuple(word for word, n in (('har_bor', 2), ("o'%|x", 3)) if i % n == 0),
                size=i,
                changed=10**15 + i,
                digest=f'{i:x}',
            )
        )
    return made


def vectors(count=COUNT):
    made = unit(count, 0)
    made[7] = made[3]  # equal vectors are ordered by key
    return made


def filled(kind, folder):
    needs(kind)
    index = open_index(uri(kind, folder), DIM, IDENTITY)
    items, rows = records(), vectors()
    for start in (0, 250):
        stop = {0: 250, 250: COUNT}[start]
        index.add(items[start:stop], rows[start:stop])
    return index


@pytest.fixture(scope='session', params=['exact', 'lance', 'milvus', 'server'])
def kept(request, tmp_path_factory):
    """An index that no test changes."""
    return filled(request.param, tmp_path_factory.mktemp('kept'))
