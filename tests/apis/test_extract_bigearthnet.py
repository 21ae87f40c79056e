"""Extraction from BigEarthNet's LMDB: processes, kills, changed and damaged patches."""

import json
import os
import shutil
from pathlib import Path

import lmdb
import numpy as np
import pytest
import torch

from rs_mm.apis import ImageSearch, evaluate_features, extract, load_features
from rs_mm.datasets.bigearthnet.convert import convert
from rs_mm.datasets.bigearthnet.folders import open_source
from rs_mm.datasets.bigearthnet.records import pack_record
from rs_mm.datasets.bigearthnet.store import PatchReader, close_reader
from rs_mm.datasets.fake.bigearthnet import make_bigearthnet_v1
from rs_mm.errors import ConfigError, DataError
from rs_mm.launch.config import build_runner, load_config, prepare
from tests.distributed import run_processes

from .test_extract import content, kill_after_two_shards, start_slow

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / 'configs/demo/oml_r18_120_8e_fake_bigearthnet.py')
PATCHES, BATCH, SHARD = 20, 3, 6


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp('ben')
    names = make_bigearthnet_v1(root / 'v1', PATCHES)
    pack(root, names)
    return root


def pack(root, names):
    """Converts the tree, with ``names`` in this order as the list of the test split."""
    convert(open_source(root / 'v1'), str(root / 'lmdb'), dict(val=names), workers=0)
    close_reader(str(root / 'lmdb'))


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)  # another number of threads changes the last bits


def options(root):
    return {
        'test_dataloader.dataset.data_root': str(root),
        'test_dataloader.batch_size': BATCH,
        'model.encoder.model': 'test_resnet',
    }


@pytest.fixture(scope='module')
def checkpoint(tree, tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    torch.manual_seed(0)
    model = build_runner(prepare(load_config(CONFIG, options(tree)), work_dir=str(folder))).model
    torch.save(dict(state_dict=model.state_dict(), meta={}), folder / 'model.pth')
    return str(folder / 'model.pth')


def run(root, checkpoint, out, **kwargs):
    return extract(
        CONFIG,
        checkpoint,
        out,
        options=options(root),
        shard_size=SHARD,
        work_dir=str(Path(out).parent / 'work'),
        **kwargs,
    )


def computed(out):
    """How many images the last run computed."""
    log = max((out.parent / 'work').glob('*/*.log')).read_text()
    return int(log.split(f'images are in {out}, ')[-1].split(' to compute')[0])


@pytest.fixture(scope='module')
def extracted(tree, checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp('one') / 'features'
    torch.set_num_threads(1)
    run(tree, checkpoint, out)
    return out


def _rank(rank, tree, checkpoint, out):
    found = run(tree, checkpoint, out, launcher='pytorch')
    return -1 if found is None else len(found.names)


def test_two_processes_make_the_same_bytes(tree, checkpoint, extracted, tmp_path):
    (tmp_path / 'ranks').mkdir()
    counts = run_processes(_rank, tmp_path / 'ranks', tree, checkpoint, tmp_path / 'features')
    assert counts == [PATCHES, -1]
    assert content(tmp_path / 'features') == content(extracted)


def test_names_paths_and_manifest(tree, checkpoint, extracted):
    manifest, array = content(extracted)
    names = (tree / 'lmdb/splits/val.csv').read_text().split()
    reader = PatchReader(str(tree / 'lmdb'))
    assert [file[0] for file in manifest['files']] == names and len(names) == PATCHES
    assert manifest['paths'] == [f'{tree}/lmdb:{name}' for name in names]
    assert [file[2] for file in manifest['files']] == [reader.checksum(name) for name in names]
    assert (manifest['count'], manifest['dims']) == (PATCHES, 128)
    assert 'bands' in manifest['identity']['preprocessing']
    # the row of a patch is that patch's embedding
    cfg = prepare(load_config(CONFIG, options(tree)), work_dir=str(extracted.parent / 'work'))
    cfg.load_from = checkpoint
    runner = build_runner(cfg)
    runner.load_or_resume()
    sample = runner.test_dataloader.dataset[7]
    with torch.no_grad():
        expected = runner.model.eval().encode_image(sample['inputs'][None])[0]
    assert sample['data_samples'].name == names[7]
    rows = np.load(extracted / json.loads((extracted / 'features.json').read_text())['array'])
    np.testing.assert_allclose(rows[7], expected, atol=1e-5)


def test_killed_and_resumed(tree, checkpoint, extracted, tmp_path):
    out = tmp_path / 'features'
    kill_after_two_shards(start_slow(CONFIG, options(tree), checkpoint, out, tmp_path), out)
    kept = len(list(out.glob('shards/*.npz')))
    assert 2 <= kept < -(-PATCHES // SHARD) and not (out / 'features.json').exists()
    run(tree, checkpoint, out)
    assert computed(out) == PATCHES - kept * SHARD
    assert content(out) == content(extracted)


def test_removed_changed_and_added_patches(tree, checkpoint, extracted, tmp_path):
    root, out = tmp_path / 'ben', tmp_path / 'features'
    shutil.copytree(tree, root)
    shutil.copytree(extracted, out)
    names = (tree / 'lmdb/splits/val.csv').read_text().split()
    # a copy of the LMDB, at another time, holds the same patches
    os.utime(root / 'lmdb/data.mdb', (1, 1))
    run(root, checkpoint, out)
    assert computed(out) == 0 and content(out)[1] == content(extracted)[1]
    # one is taken off the list, another gets other pixels
    (root / 'lmdb/splits/val.csv').write_text('\n'.join(names[:4] + names[5:]) + '\n')
    change(root / 'lmdb', names[9], lambda record: record['b10'].fill(1000))
    found = run(root, checkpoint, out)
    assert computed(out) == 1 and found.names == names[:4] + names[5:]
    before = np.frombuffer(content(extracted)[1][-PATCHES * 128 * 4 :], np.float32)
    before = np.delete(before.reshape(PATCHES, 128), 4, 0)
    moved = np.abs(found.features.numpy() - before).max(1)
    assert moved[8] > 1e-3 and np.delete(moved, 8).max() == 0
    # it is put back
    (root / 'lmdb/splits/val.csv').write_text('\n'.join(names) + '\n')
    assert run(root, checkpoint, out).names == names and computed(out) == 1
    # the list names one that the LMDB lacks
    (root / 'lmdb/splits/val.csv').write_text('\n'.join([*names, 'S2A_GONE']) + '\n')
    with pytest.raises(DataError, match="1 of 21 patches are not in .* first is 'S2A_GONE'"):
        run(root, checkpoint, out)


def change(path, name, edit):
    record = {key: array.copy() for key, array in PatchReader(str(path)).read(name).items()}
    edit(record)
    put(path, name, pack_record(record))


def put(path, name, value):
    close_reader(str(path))
    with lmdb.open(str(path), map_size=1 << 28) as env, env.begin(write=True) as transaction:
        transaction.put(name.encode(), value)


def test_damaged_patches_are_told_and_the_rest_kept(tree, checkpoint, tmp_path):
    root, out = tmp_path / 'ben', tmp_path / 'features'
    shutil.copytree(tree, root)
    names = (tree / 'lmdb/splits/val.csv').read_text().split()
    reader = PatchReader(str(root / 'lmdb'))
    whole = {name: bytes(reader._value(name)) for name in names[:6]}
    other = dict(label19=np.zeros(19, np.uint8), b10=np.zeros((4, 9, 9), np.uint16))
    damaged = [
        b'',
        b'no record',
        whole[names[2]][:-9],
        whole[names[3]][:-1] + b'\7',
        whole[names[4]][:16] + b'\xff' * 32 + whole[names[4]][48:],
        pack_record(other),
    ]
    for name, value in zip(names, damaged):
        put(root / 'lmdb', name, value)
    found = run(root, checkpoint, out)
    assert found.names == names[6:] and list(found.unreadable) == names[:6]
    reasons = [
        'not a patch record',
        'not a patch record',
        'its header says',
        'the checksum does not match',
        'the checksum does not match',
        'the record is not a Sentinel-2 patch',
    ]
    for name, reason in zip(names, reasons):
        assert reason in found.unreadable[name] and name in found.unreadable[name]
    log = max((tmp_path / 'work').glob('*/*.log')).read_text()
    assert f'6 of {PATCHES} images cannot be read and are skipped' in log
    run(root, checkpoint, out)
    assert computed(out) == 6  # they are tried again
    metrics = evaluate_features(
        CONFIG,
        out,
        options=options(root) | {'test_evaluator.at': [5], 'test_evaluator.shared_at': [1]},
    )
    assert any(key.endswith('@5') for key in metrics)
    # mended: those alone are computed
    for name, value in whole.items():
        put(root / 'lmdb', name, value)
    assert run(root, checkpoint, out).names == names and computed(out) == 6
    close_reader(str(root / 'lmdb'))


@pytest.mark.parametrize(
    'config', sorted(path.name for path in ROOT.glob('configs/oml/oml_*bigearthnet*.py'))
)
def test_published_configs(tree, tmp_path, config):
    changes = options(tree) | {'test_dataloader.num_workers': 1, 'model.encoder.init_cfg': None}
    found = extract(
        str(ROOT / 'configs/oml' / config),
        None,
        tmp_path / 'features',
        options=changes,
        work_dir=str(tmp_path / 'work'),
    )
    assert len(found.names) == PATCHES and not found.unreadable


def test_search_among_patches(tree, checkpoint, extracted):
    search = ImageSearch(None, CONFIG, checkpoint, features=extracted, options=options(tree))
    name = load_features(extracted).names[3]
    found = search(name, k=4)
    assert found[0].path == f'{tree}/lmdb:{name}' and found[0].score == pytest.approx(1, abs=1e-5)
    picture = found.draw()
    assert picture.dtype == np.uint8 and picture.std() > 20
    with pytest.raises(ConfigError, match='LoadBigEarthNetPatch reads the LMDB of a BigEarth'):
        search(tree / 'v1' / name / f'{name}_B02.tif')
    with pytest.raises(ConfigError, match='not files such as .*tif; use a config whose pipeline'):
        run(tree, checkpoint, extracted.parent / 'folder', archive=str(tree / 'v1'))
