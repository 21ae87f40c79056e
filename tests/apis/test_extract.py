"""Extraction of features: any number of processes, kills, stale caches, and what uses them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from rs_mm.apis import ImageSearch, evaluate_features, extract, load_features
from rs_mm.apis import test as run_test
from rs_mm.datasets.fake.multilabel_images import make_multilabel
from rs_mm.datasets.label_tables import read_names
from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.launch.config import build_runner, load_config, prepare
from tests.distributed import run_processes
from tests.weicom_toy import ARCH, PIPELINE

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / 'configs/demo/oml_r18_64_12e_fake_ucm.py')
GRN = str(ROOT / 'configs/demo/grn_sndl-bce_demo.py')
WEICOM = str(ROOT / 'configs/demo/weicom_tiny_patterncom.py')
IMAGES, BATCH, SHARD = 42, 4, 8  # the test split of 210; shards of two batches


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('ucm')
    make_multilabel(root, 'ucm', images=210, size=32)
    return root


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)  # another number of threads changes the last bits


def options(root, **more):
    return {
        **{
            f'{split}_dataloader.dataset.data_root': str(root) for split in ('train', 'val', 'test')
        },
        'model.encoder.model': 'test_resnet',
        'test_dataloader.batch_size': BATCH,
        **more,
    }


@pytest.fixture(scope='module')
def checkpoint(data, tmp_path_factory):
    return make_checkpoint(data, tmp_path_factory.mktemp('run'), 0)


def make_checkpoint(data, folder, seed):
    cfg = prepare(load_config(CONFIG, options(data)), work_dir=str(folder))
    cfg.randomness.seed = seed
    torch.manual_seed(seed)
    model = build_runner(cfg).model
    path = folder / f'{seed}.pth'
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return str(path)


def run(data, checkpoint, out, **kwargs):
    return extract(
        CONFIG,
        checkpoint,
        out,
        options=options(data),
        shard_size=SHARD,
        work_dir=str(Path(out).parent / 'work'),
        **kwargs,
    )


@pytest.fixture(scope='module')
def extracted(data, checkpoint, tmp_path_factory):
    out = tmp_path_factory.mktemp('one') / 'features'
    torch.set_num_threads(1)
    run(data, checkpoint, out)
    return out


def content(out):
    manifest = json.loads((out / 'features.json').read_text())
    array = (out / manifest.pop('array')).read_bytes()
    return manifest, array


def _rank(rank, data, checkpoint, out):
    found = run(data, checkpoint, out, launcher='pytorch')
    return -1 if found is None else len(found.names)


@pytest.mark.parametrize('world', [2, 3])
def test_any_number_of_processes_makes_the_same_bytes(data, checkpoint, extracted, tmp_path, world):
    (tmp_path / 'ranks').mkdir()
    counts = run_processes(
        _rank, tmp_path / 'ranks', data, checkpoint, tmp_path / 'features', world=world
    )
    assert counts == [IMAGES, *[-1] * (world - 1)]
    assert content(tmp_path / 'features') == content(extracted)
    assert sorted(path.suffix for path in (tmp_path / 'features').iterdir()) == ['.json', '.npy']


def test_the_manifest_and_the_order(data, extracted):
    manifest, _ = content(extracted)
    assert (manifest['count'], manifest['dims'], manifest['dtype']) == (IMAGES, 128, 'float32')
    assert set(manifest['identity']) == {'arch', 'weights', 'preprocessing'}
    assert manifest['about']['archive'] == 'test'
    archive = load_features(extracted)
    rows = read_names(data / 'test.csv')
    assert archive.names == rows and all(Path(path).is_file() for path in archive.paths)
    torch.testing.assert_close(archive.features.norm(dim=1), torch.ones(IMAGES))


SLOW = """
import time
from rs_mm.engine import feature_extraction
write = feature_extraction.write_shard


def write_shard(*args):
    write(*args)
    time.sleep(1.5)  # leaves time to kill the process between two shards


feature_extraction.write_shard = write_shard
"""


def start_slow(base, changes, checkpoint, out, folder):
    (folder / 'slow_shards.py').write_text(SLOW)
    config = folder / 'slow.py'
    config.write_text(f"_base_ = {base!r}\ncustom_imports = dict(imports=['slow_shards'])\n")
    pairs = [f'{key}={value}' for key, value in changes.items()]
    env = {**os.environ, 'PYTHONPATH': f'{ROOT}{os.pathsep}{folder}', 'OMP_NUM_THREADS': '1'}
    return subprocess.Popen(
        [
            sys.executable,
            str(ROOT / 'tools/retrieval/extract.py'),
            str(config),
            checkpoint,
            '--out',
            str(out),
            '--shard-size',
            str(SHARD),
            '--work-dir',
            str(folder / 'work'),
            '--cfg-options',
            *pairs,
        ],
        env=env,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def kill_after_two_shards(process, out):
    deadline = time.time() + 100
    while len(list(out.glob('shards/*.npz'))) < 2 and time.time() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_killed_and_resumed_on_another_number_of_processes(data, checkpoint, extracted, tmp_path):
    out = tmp_path / 'features'
    kill_after_two_shards(start_slow(CONFIG, options(data), checkpoint, out, tmp_path), out)
    kept = {path.name: path.read_bytes() for path in out.glob('shards/*.npz')}
    assert 2 <= len(kept) < -(-IMAGES // SHARD) and not (out / 'features.json').exists()
    shutil.copytree(out, tmp_path / 'alone')
    run(data, checkpoint, tmp_path / 'alone')
    log = max((tmp_path / 'work').glob('*/*.log')).read_text()
    assert f'{IMAGES - len(kept) * SHARD} to compute' in log
    assert content(tmp_path / 'alone') == content(extracted)
    (tmp_path / 'ranks').mkdir()
    run_processes(_rank, tmp_path / 'ranks', data, checkpoint, out, world=3)
    assert content(out) == content(extracted)


def test_features_of_another_checkpoint_are_refused(data, checkpoint, extracted, tmp_path):
    other = make_checkpoint(data, tmp_path, 1)
    before = content(extracted)
    with pytest.raises(ConfigError, match='but another weights made it; give another folder'):
        run(data, other, extracted)
    assert content(extracted) == before
    out = tmp_path / 'unfinished'
    shutil.copytree(extracted, out)
    from rs_mm.retrieval.shards import File, write_shard

    (out / 'features.json').unlink()
    write_shard(out, before[0]['identity'], [File('a', 1, 1)], np.zeros((1, 128), np.float32), {})
    with pytest.raises(ConfigError, match='another model made its shards'):
        run(data, other, out)


def test_an_unreadable_image_is_told_and_the_rest_kept(data, checkpoint, tmp_path, caplog):
    damaged = tmp_path / 'damaged'
    shutil.copytree(data, damaged)
    name = (damaged / 'test.csv').read_text().splitlines()[10].split(',')[0]
    image = next(damaged.glob(f'Images/**/{name}.tif'))
    image.write_bytes(b'no image')
    out = tmp_path / 'features'
    found = run(damaged, checkpoint, out)
    assert len(found.names) == IMAGES - 1 and name not in found.names
    assert list(found.unreadable) == [name] and image.name in found.unreadable[name]
    log = max((tmp_path / 'work').glob('*/*.log')).read_text()
    assert f'1 of {IMAGES} images cannot be read and are skipped' in log and image.name in log
    # mended: it alone is computed
    shutil.copy(next(data.glob(f'Images/**/{name}.tif')), image)
    assert len(run(damaged, checkpoint, out).names) == IMAGES
    assert '1 to compute' in max((tmp_path / 'work').glob('*/*.log')).read_text()


def test_a_failure_on_the_way_keeps_the_shards(data, checkpoint, extracted, tmp_path, monkeypatch):
    from rs_mm.models.embedder import ImageEmbedder

    encode, calls = ImageEmbedder.encode_image, []

    def failing(self, images):
        calls.append(len(images))
        if len(calls) == 6:
            raise RuntimeError('out of memory')
        return encode(self, images)

    out = tmp_path / 'features'
    monkeypatch.setattr(ImageEmbedder, 'encode_image', failing)
    with pytest.raises(RuntimeError, match='out of memory'):
        run(data, checkpoint, out)
    run(data, checkpoint, out)  # two shards of two batches were finished
    assert sum(calls[6:]) == IMAGES - 2 * SHARD
    assert content(out) == content(extracted)


def test_features_that_are_not_finite_are_refused(data, checkpoint, tmp_path, monkeypatch):
    from rs_mm.models.embedder import ImageEmbedder

    encode = ImageEmbedder.encode_image
    monkeypatch.setattr(ImageEmbedder, 'encode_image', lambda *args: encode(*args) * torch.nan)
    first = read_names(data / 'test.csv')[0]
    with pytest.raises(DataError, match=f"image '{first}' is NaN or infinite, as 4 of 4 are"):
        run(data, checkpoint, tmp_path / 'features')
    monkeypatch.undo()
    monkeypatch.setattr(ImageSearch, '_embed', lambda *args: [torch.full((128,), torch.nan)])
    run(data, checkpoint, tmp_path / 'features')
    search = ImageSearch(
        None, CONFIG, checkpoint, features=tmp_path / 'features', options=options(data)
    )
    with pytest.raises(DataError, match='similarity to .* is nan'):
        search(first)


def test_the_train_split_is_seen_by_the_test_pipeline(data, checkpoint, tmp_path):
    found = run(data, checkpoint, tmp_path / 'a', split='train')
    again = run(data, checkpoint, tmp_path / 'b', split='train')
    assert len(found.names) == len(read_names(data / 'train.csv'))
    assert torch.equal(found.features, again.features)


def test_search_among_the_features(data, checkpoint, extracted):
    search = ImageSearch(None, CONFIG, checkpoint, features=extracted, options=options(data))
    archive = load_features(extracted)
    image, name = archive.paths[5], archive.names[5]
    best = search(image, k=3)
    assert best[0].path == image and best[0].score == pytest.approx(1, abs=1e-5)
    assert [hit.path for hit in search(name, k=3)] == [hit.path for hit in best]
    assert search.draw(best, name).ndim == 3
    with pytest.raises(ConfigError, match='ImageEmbedder takes no text'):
        search(text='boats')


def test_search_with_other_weights_is_refused(data, checkpoint, extracted, tmp_path):
    other = make_checkpoint(data, tmp_path, 1)
    with pytest.raises(ConfigError, match='another weights made it than this config'):
        ImageSearch(None, CONFIG, other, features=extracted, options=options(data))
    with pytest.raises(MissingFileError, match='holds no finished features'):
        ImageSearch(None, CONFIG, other, features=tmp_path, options=options(data))
    with pytest.raises(ConfigError, match='give --weights'):
        ImageSearch(None, CONFIG, features=extracted, options=options(data))
    with pytest.raises(ConfigError, match='search a folder of images .*or extracted features'):
        ImageSearch(None, CONFIG, other, options=options(data))


def test_metrics_of_features_are_those_of_the_test(data, checkpoint, extracted, tmp_path):
    more = {'test_evaluator.at': [5], 'test_evaluator.shared_at': [1]}
    tested = run_test(CONFIG, checkpoint, options(data, **more), work_dir=str(tmp_path))
    offline = evaluate_features(
        CONFIG, extracted, options=options(data, **more), out=tmp_path / 'm.json'
    )
    assert offline == pytest.approx(tested, abs=1e-6, nan_ok=True)
    assert json.loads((tmp_path / 'm.json').read_text()).keys() == tested.keys()
    with pytest.raises(DataError, match='are not in the val split'):
        evaluate_features(CONFIG, extracted, 'val', options=options(data))


def test_knn_on_features_of_two_splits(tmp_path):
    make_multilabel(tmp_path / 'set', 'dfc15', images=60, size=32)
    changes = {
        f'{split}_dataloader.dataset.{key}': value
        for split in ('train', 'val', 'test')
        for key, value in {'data_root': str(tmp_path / 'set'), 'split.expected': 60}.items()
    }
    changes |= {
        'model.losses.0.memory.size': 42,
        'test_dataloader.num_workers': 0,
        'test_dataloader.persistent_workers': False,
        'test_evaluator.1.at': [5],
    }
    for split in ('train', 'test'):
        extract(
            GRN, None, tmp_path / split, split, options=changes, work_dir=str(tmp_path / 'work')
        )
    metrics = evaluate_features(
        GRN, tmp_path / 'test', reference=tmp_path / 'train', options=changes
    )
    assert 0 <= metrics['knn/f1_sample'] <= 1 and 'retrieval/nDCG@5' in metrics
    other = json.loads((tmp_path / 'train/features.json').read_text())
    other['identity']['weights'] = 'other'
    (tmp_path / 'train/features.json').write_text(json.dumps(other))
    with pytest.raises(ConfigError, match='train: another weights made it than .*test; extract'):
        evaluate_features(GRN, tmp_path / 'test', reference=tmp_path / 'train', options=changes)
    with pytest.raises(ConfigError, match='has no KNNMetric, which alone searches it'):
        evaluate_features(CONFIG, tmp_path / 'test', reference=tmp_path / 'train')
    alone = evaluate_features(GRN, tmp_path / 'test', options=changes)
    assert 'retrieval/nDCG@5' in alone and 'knn/f1_sample' not in alone


def test_a_folder_by_the_image_tower_of_clip(data, tmp_path):
    changes = {'model.arch': ARCH, 'test_dataloader.dataset.pipeline': PIPELINE}
    found = extract(
        WEICOM,
        None,
        tmp_path / 'features',
        archive=str(data / 'Images'),
        options=changes,
        work_dir=str(tmp_path / 'work'),
    )
    assert found.features.shape == (210, 16)
    search = ImageSearch(None, WEICOM, features=tmp_path / 'features', options=changes)
    assert search(found.paths[0], k=1)[0].path == found.paths[0]


def test_models_without_embeddings_are_told(tmp_path):
    with pytest.raises(ConfigError, match='--shard-size 0'):
        extract(CONFIG, None, tmp_path, shard_size=0)
    with pytest.raises(ConfigError, match='--split tset: use train, val, test'):
        extract(CONFIG, None, tmp_path, split='tset')
