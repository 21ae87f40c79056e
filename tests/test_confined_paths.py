"""Names in tables, manifests and databases do not lead out of their folder."""

import json
import sqlite3

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rs_mm.datasets.bigearthnet.folders import FolderV1
from rs_mm.datasets.bigearthnet.metadata import Metadata
from rs_mm.errors import DataError
from rs_mm.exported.model import FORMAT, read_manifest
from rs_mm.retrieval.index import Record, open_index

OUTSIDE = ('../../x', '/etc/passwd', 'a/../../x')


@pytest.mark.parametrize('name', OUTSIDE)
def test_patches_of_a_parquet_table(tmp_path, monkeypatch, name):
    table = pa.table({'patch_id': ['S2A_1_2', name], 'labels': [['Pastures']] * 2})
    pq.write_table(table, tmp_path / 'metadata.parquet')
    with pytest.raises(
        DataError, match='metadata.parquet: the name .* leads out of the data folder'
    ):
        Metadata([tmp_path / 'metadata.parquet'])
    with pytest.raises(DataError, match='leads out of the data folder'):
        FolderV1(tmp_path).read(name)
    monkeypatch.setenv('RS_MM_OUTSIDE_PATHS', '1')
    assert name in Metadata([tmp_path / 'metadata.parquet']).names()


@pytest.mark.parametrize('part', ['graphs', 'tokenizer'])
def test_networks_of_an_export(tmp_path, part):
    (tmp_path / 'outside.onnx').write_bytes(b'x')
    folder = tmp_path / 'export'
    folder.mkdir()
    (folder / 'model.onnx').write_bytes(b'x')
    info = dict(format_version=FORMAT, task='embedding', format='onnx')
    info.update(graphs=dict(image=dict(file='model.onnx')), tokenizer=dict(file='model.onnx'))
    (folder / 'model.json').write_text(json.dumps(info))
    assert read_manifest(folder)['tokenizer'] == dict(file='model.onnx')
    target = info['tokenizer'] if part == 'tokenizer' else info['graphs']['image']
    target['file'] = '../outside.onnx'
    (folder / 'model.json').write_text(json.dumps(info))
    with pytest.raises(DataError, match='model.json: the name .* leads out of the data folder'):
        read_manifest(folder)
    info[part] = 5
    (folder / 'model.json').write_text(json.dumps(info))
    with pytest.raises(DataError, match='model.json is damaged'):
        read_manifest(folder)


def test_vectors_of_an_index(tmp_path):
    folder = tmp_path / 'a.index'
    index = open_index(str(folder), dims=2, identity={'model': 'x'})
    index.add([Record('a', 'a', 'a')], np.ones((1, 2), np.float32))
    (tmp_path / 'vectors-00.f32').write_bytes(bytes(8))
    with sqlite3.connect(folder / 'index.sqlite') as base:
        base.execute("UPDATE state SET content = ? WHERE name = 'array'", (b'../vectors-00.f32',))
    for use in (
        lambda index: index.add([Record('b', 'b', 'b')], np.ones((1, 2), np.float32)),
        lambda index: index.fetch(['a']),
    ):
        with pytest.raises(DataError, match="names the vectors '../vectors-00.f32'"):
            use(open_index(str(folder)))
    assert (tmp_path / 'vectors-00.f32').stat().st_size == 8
