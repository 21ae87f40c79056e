import copy
import multiprocessing
import os
import shutil

import lmdb
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from rs_mm.datasets import BigEarthNetDataset
from rs_mm.datasets.bigearthnet import labels, legacy, store
from rs_mm.datasets.bigearthnet.bands import SELECTIONS, select_bands, upsample
from rs_mm.datasets.bigearthnet.convert import convert
from rs_mm.datasets.bigearthnet.folders import open_source
from rs_mm.datasets.bigearthnet.records import pack_record, unpack_record
from rs_mm.datasets.bigearthnet.store import META_KEY, PatchReader, PatchWriter, close_reader
from rs_mm.datasets.fake.bigearthnet import make_bigearthnet_v1
from rs_mm.errors import ConfigError, DataError, MissingFileError
from tests import fill
from tests.parity import load_case


def pipeline(bands):
    return [
        dict(type='LoadBigEarthNetPatch', bands=bands),
        dict(type='NormalizeBigEarthNet'),
        dict(type='PackEmbeddingInputs'),
    ]


def recorded_patch():
    manifest, expected = load_case('oml', 'bigearthnet_sample')
    record = {
        item['name'].rsplit('/', 1)[1]: np.round(
            fill.field(item['name'], item['shape'])[0] * 3000
        ).astype(np.uint16)
        for item in manifest['inputs']
    }
    label = np.zeros(43, np.uint8)
    label[manifest['settings']['active_labels_of_43']] = 1
    return dict(label43=label, label19=labels.to_19(label)) | record, expected


@pytest.fixture(scope='module')
def v1(tmp_path_factory):
    """A converted fake v1 tree: (folder of patches, folder of the LMDB)."""
    root = tmp_path_factory.mktemp('ben')
    make_bigearthnet_v1(root / 'v1', 12)
    lists = {path.stem: path.read_text().split() for path in (root / 'splits').iterdir()}
    convert(open_source(root / 'v1'), str(root / 'lmdb'), lists, workers=2)
    return root / 'v1', root / 'lmdb'


def test_network_inputs_equal_original(tmp_path):
    record, expected = recorded_patch()
    assert np.allclose(upsample(record['b20'], 2), expected['bands20_up'], atol=2e-3)
    with PatchWriter(tmp_path) as writer:
        writer.put([('p', pack_record(record))])
        writer.set_complete(True)
    for bands, key in (('10', 'input10'), ('rgb', 'input3')):
        dataset = BigEarthNetDataset(str(tmp_path), num_classes=43, pipeline=pipeline(bands))
        sample = dataset[0]
        assert sample['inputs'].dtype == torch.float32 and sample['inputs'].is_contiguous()
        assert np.allclose(sample['inputs'][:, ::3, ::3], expected[key], rtol=1e-5, atol=1e-4)
        assert np.array_equal(sample['data_samples'].gt_label, expected['label'])


def test_edges_are_mirrored_about_the_edge_pixel():
    up = upsample(np.random.rand(2, 5, 7).astype(np.float32), 2)
    assert up.shape == (2, 10, 14)
    assert np.allclose(up[:, 0], up[:, 1]) and np.allclose(up[:, -1], up[:, -2])
    assert np.allclose(up[..., 0], up[..., 1]) and np.allclose(up[..., -1], up[..., -2])
    ramp = np.arange(20, dtype=np.float32)[None, None].repeat(20, 1)
    inner = upsample(ramp, 6)[0, 60, 6:-6]
    assert np.allclose(np.diff(inner), 1 / 6, atol=1e-5)


@pytest.mark.parametrize('value', ['lmdb_value', 'lmdb_value_v016'])
def test_values_of_the_original_database(value):
    record, expected = recorded_patch()
    read = legacy.read_patch(expected[value].tobytes())
    assert list(read) == list(record)
    for key in record:
        assert read[key].dtype == record[key].dtype and np.array_equal(read[key], record[key])


def test_keys_and_length_of_the_original_database():
    _, expected = load_case('oml', 'bigearthnet_sample')
    keys, _ = legacy.read_value(expected['lmdb_keys'].tobytes())
    assert keys == [b'S2A_MSIL2A_20170717T113321_28_88', b'S2A_MSIL2A_20170717T113321_28_89']
    assert legacy.read_value(expected['lmdb_len'].tobytes())[0] == 2


def test_label_rules_of_every_class():
    manifest, expected = load_case('oml', 'bigearthnet_labels')
    settings = manifest['settings']
    assert {
        43: tuple(settings['old_classes']),
        19: tuple(settings['new_classes']),
    } == labels.NOMENCLATURES
    assert np.array_equal(labels.conversion_matrix(), expected['map43to19'])
    for index, name in enumerate(settings['old_classes']):
        old = labels.encode([name], 43)
        assert old.sum() == 1 and old[index] == 1
        assert np.array_equal(labels.to_19(old), expected['map43to19'][index])
        assert labels.to_19(old).any() == (index not in expected['dropped'])
    for active, old, new in zip(
        settings['examples'], expected['example_old'], expected['example_new']
    ):
        names = [settings['old_classes'][index] for index in active]
        assert np.array_equal(labels.encode(names, 43), old)
        assert np.array_equal(labels.to_19(old), new)
    with pytest.raises(DataError, match="unknown label 'Sea': not one of the 43"):
        labels.encode(['Sea'], 43)


def test_records_are_read_without_copying():
    record, _ = recorded_patch()
    packed = memoryview(pack_record(record))
    read = unpack_record(packed, check=True)
    for key, array in read.items():
        assert np.array_equal(array, record[key]) and not array.flags.writeable
        assert np.shares_memory(array, np.frombuffer(packed, np.uint8))
        assert array.ctypes.data % 2 == 0


def test_bad_records():
    packed = pack_record(dict(a=np.arange(5)))
    for bad, message in (
        (b'xx', 'not a patch record'),
        (b'abcd' + packed[4:], 'not a patch record'),
        (packed[:4] + b'\7' + packed[5:], 'layout version 7, this rs_mm reads'),
        (packed[:-1], f'{len(packed) - 1} bytes long, its header says'),
    ):
        with pytest.raises(DataError, match=message):
            unpack_record(bad)
    damaged = packed[:-1] + b'\1'
    assert unpack_record(damaged)['a'][0] == 0
    with pytest.raises(DataError, match='p: the checksum does not match'):
        unpack_record(damaged, 'p', check=True)


def test_dataset_splits_exclusion_and_bands(v1):
    folder, path = v1
    lists = path.parent / 'splits'
    dataset = BigEarthNetDataset(
        'lmdb', ann_file='splits/train.csv', data_root=str(path.parent), pipeline=pipeline('10')
    )
    assert dataset.names() == (lists / 'train.csv').read_text().split()
    assert dataset.metainfo['classes'] == labels.NOMENCLATURES[19]
    sample = dataset[2]['data_samples']
    assert sample.name == dataset.names()[2] and sample.sample_idx == 2
    assert np.array_equal(sample.gt_label, dataset.labels()[2])
    assert dataset.get_cat_ids(2) == sample.gt_label.nonzero().flatten().tolist()
    rest = BigEarthNetDataset(str(path), exclude=[str(lists / 'train.csv')])
    assert not set(rest.names()) & set(dataset.names()) and len(rest) + len(dataset) == 12
    record = PatchReader(path).read(dataset.names()[0])
    one = select_bands(record, ('B8A', 'B02', 'B01'))
    every = select_bands(record, SELECTIONS['12'])
    assert np.allclose(one[0], every[7]) and np.array_equal(one[1], record['b10'][0])
    assert np.allclose(one[2], upsample(record['b60'], 6)[0])


@pytest.mark.parametrize('start', ['fork', 'spawn'])
def test_workers_and_forks_read_safely(v1, start):
    _, path = v1
    dataset = BigEarthNetDataset(str(path), pipeline=pipeline('rgb'))
    here = torch.stack([dataset[i]['inputs'] for i in range(len(dataset))])  # opens the file first
    loader = DataLoader(
        dataset, batch_size=None, num_workers=1 + (start == 'fork'), multiprocessing_context=start
    )
    there = torch.stack([sample['inputs'] for sample in loader])
    assert torch.equal(here, there)
    assert torch.equal(here[0], dataset[0]['inputs'])
    assert torch.equal(copy.deepcopy(dataset)[0]['inputs'], here[0])


def _read_in_child(reader, name, queue):
    total = reader.read(name)['b10'].sum()
    opened_by, *_ = store._OPEN[os.path.realpath(reader.path)]
    queue.put((opened_by == os.getpid(), total))


def test_reader_opened_before_a_fork(v1):
    _, path = v1
    reader = PatchReader(path)
    name = reader.names()[0]
    expected, context = reader.read(name)['b10'].sum(), multiprocessing.get_context('fork')
    queue = context.Queue()
    children = [
        context.Process(target=_read_in_child, args=(reader, name, queue)) for _ in range(3)
    ]
    for child in children:
        child.start()
    results = [queue.get(timeout=60) for _ in children]
    for child in children:
        child.join()
        assert child.exitcode == 0
    assert set(results) == {(True, expected)}
    assert reader.read(name)['b10'].sum() == expected


def test_bad_databases(v1, tmp_path):
    _, path = v1
    with pytest.raises(MissingFileError, match='no LMDB .*bigearthnet_to_lmdb.py'):
        BigEarthNetDataset(str(tmp_path))
    for name in ('short', 'empty', 'version', 'unfinished'):
        shutil.copytree(path, tmp_path / name)
    with open(tmp_path / 'short/data.mdb', 'r+b') as file:
        file.truncate(file.seek(0, 2) // 2)
    with pytest.raises(DataError, match='data.mdb: truncated: .* copy or convert the data again'):
        BigEarthNetDataset(str(tmp_path / 'short'))
    (tmp_path / 'empty/data.mdb').write_bytes(b'no database' * 1000)
    with pytest.raises(DataError, match='not a readable LMDB'):
        BigEarthNetDataset(str(tmp_path / 'empty'))
    with lmdb.open(str(tmp_path / 'version')) as env, env.begin(write=True) as txn:
        txn.put(META_KEY, b'{"format": "rs_mm-bigearthnet", "version": 2, "complete": true}')
    with pytest.raises(DataError, match="version 2, this rs_mm reads 'rs_mm-big.*' version 1"):
        BigEarthNetDataset(str(tmp_path / 'version'))
    close_reader(tmp_path / 'version')
    with pytest.raises(DataError, match='holds records of layout version 2'):
        PatchWriter(tmp_path / 'version')
    with PatchWriter(tmp_path / 'unfinished'):
        pass
    with pytest.raises(DataError, match='the conversion was not finished; run the same'):
        BigEarthNetDataset(str(tmp_path / 'unfinished'))
    (tmp_path / 'names.csv').write_text('here\nS2A_MSIL2A_20170717T113321_0_0\n')
    with pytest.raises(DataError, match="1 of 2 patches are not in .* the first is 'here'"):
        BigEarthNetDataset(str(path), ann_file=str(tmp_path / 'names.csv'))
    name = PatchReader(path).names()[0]
    (tmp_path / 'names.csv').write_text(f'{name}\n{name}\n')
    with pytest.raises(DataError, match=f"names.csv: '{name}' is listed twice"):
        BigEarthNetDataset(str(path), ann_file=str(tmp_path / 'names.csv'))
    with pytest.raises(ConfigError, match='num_classes=20; there are 19 and 43'):
        BigEarthNetDataset(str(path), num_classes=20)
    with pytest.raises(ConfigError, match=r"unknown bands \['B10'\]"):
        BigEarthNetDataset(str(path), pipeline=pipeline(['B02', 'B10']))


@pytest.mark.parametrize('factor', [2, 6])
def test_upsampling_equals_its_definition(factor):
    band = np.random.rand(1, 11, 7).astype(np.float32)
    padded = torch.nn.functional.pad(torch.from_numpy(band)[None], (1, 1, 1, 1), mode='reflect')
    large = torch.nn.functional.interpolate(padded, scale_factor=factor, mode='bilinear')
    expected = large[0, :, factor:-factor, factor:-factor].numpy()
    assert np.allclose(upsample(band, factor), expected, atol=1e-5)
