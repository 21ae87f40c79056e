"""Exported models equal the inferencers, and run in a process without torch and mm packages."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rs_mm.apis import ChangeDetector, FewShotSegmenter, ImageSearch, LabelPredictor, export
from rs_mm.apis.exporting.calibration import training_images
from rs_mm.apis.exporting.precision import reduce_precision
from rs_mm.datasets.fake.few_shot_scenes import make_isaid_5i
from rs_mm.datasets.fake.patternnet import make_patternnet
from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.exported import open_export
from rs_mm.launch.model_loading import load_model
from rs_mm.models.memories import FeatureBank
from rs_mm.registry import MODELS
from tests.toy_change import ToyChangeModel, toy_model_config
from tests.weicom_toy import ARCH, PIPELINE

from .test_grn_runs import CONFIG as GRN
from .test_grn_runs import options as grn_options

ROOT = Path(__file__).parents[2]
for package in ('onnx', 'onnxscript', 'onnxruntime', 'rasterio'):
    pytest.importorskip(package)

# refuses every import of what people without this toolbox do not have
WITHOUT_TORCH = """
import runpy, sys

for name in 'torch torchvision mmengine mmcv mmseg timm open_clip PIL'.split():
    sys.modules[name] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def run_exported(*args):
    env = {**os.environ, 'PYTHONPATH': str(ROOT)}
    command = [sys.executable, '-c', WITHOUT_TORCH, str(ROOT / 'tools/run_exported.py')]
    done = subprocess.run([*command, *map(str, args)], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pictures(folder, count, size=(40, 52)):
    rng = np.random.default_rng(3)
    folder.mkdir()
    paths = [folder / f'{i}.png' for i in range(count)]
    for path in paths:
        blocks = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        Image.fromarray(blocks).resize(size[::-1], Image.Resampling.BICUBIC).save(path)
    return paths


@pytest.fixture(scope='module')
def grn(tmp_path_factory):
    """A GRN with a memory, its checkpoint and its export."""
    folder = tmp_path_factory.mktemp('grn')
    options = grn_options('nowhere')
    loaded = load_model(GRN, options=options)
    bank = next(m for m in loaded.model.modules() if isinstance(m, FeatureBank))
    labels = np.random.default_rng(0).integers(0, 2, tuple(bank.labels.shape))
    bank.set_labels(torch.from_numpy(labels))
    meta = dict(dataset_meta=dict(classes=[f'kind {i}' for i in range(labels.shape[1])]))
    torch.save(dict(state_dict=loaded.model.state_dict(), meta=meta), folder / 'weights.pth')
    info = export(GRN, folder / 'weights.pth', folder / 'out', options=options)
    return folder, options, info


def test_labels_of_an_embedder(grn, tmp_path):
    folder, options, info = grn
    assert info['graphs']['model']['max_difference'] < 1e-5
    assert info['classes'][1] == 'kind 1' and info['versions']['torch'] == torch.__version__
    images = pictures(tmp_path / 'images', 5)
    expected = LabelPredictor(GRN, folder / 'weights.pth', 'cpu', options)(images)
    out = run_exported(folder / 'out', tmp_path / 'images', '--out', tmp_path / 'found')
    assert 'labels.csv' in out
    with open(tmp_path / 'found/labels.csv') as file:
        rows = list(csv.DictReader(file))
    for row, result in zip(rows, expected):
        assert row['labels'].split(';') == (result.labels or [''])
        values = [float(row[name]) for name in result.classes]
        np.testing.assert_allclose(values, result.probability, atol=1e-4)
    vectors = np.load(tmp_path / 'found/embeddings.npy')
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_labels_by_the_memory(grn, tmp_path):
    folder, options, _ = grn
    images = pictures(tmp_path / 'images', 4)
    expected = LabelPredictor(GRN, folder / 'weights.pth', 'cpu', options, method='knn')(images)
    runner = open_export(folder / 'out')
    runner.model.info['labels'] = dict(method='knn', k=10, thresholds=None)
    bank = expected and load_model(GRN, folder / 'weights.pth', 'cpu', options).model
    bank = next(m for m in bank.modules() if isinstance(m, FeatureBank))
    kept = dict(memory=bank.features.numpy(), memory_labels=bank.labels.numpy())
    runner.model.array = kept.get
    scores, found = runner.labels(images)
    np.testing.assert_allclose(scores, [r.probability for r in expected], atol=1e-4)
    assert (found == [r.label for r in expected]).all()


def test_backends_of_an_inferencer(grn, tmp_path, monkeypatch):
    folder, options, _ = grn
    monkeypatch.chdir(tmp_path)
    images, weights = pictures(tmp_path / 'images', 4), folder / 'weights.pth'

    def probability(backend):
        found = LabelPredictor(GRN, weights, 'cpu', options, backend=backend)(images)
        return np.stack([result.probability for result in found])

    expected = probability('torch')
    np.testing.assert_allclose(probability(folder / 'out'), expected, atol=1e-4)
    difference = np.abs(probability('bfloat16') - expected).max()
    assert 0 < difference < 0.05
    with pytest.raises(ConfigError, match="backend 'tensorrt': choose one of torch, bfloat16"):
        probability('tensorrt')

    sizes = {'fp32': os.path.getsize(folder / 'out/model.onnx')}
    for precision, calibration, least in (('fp16', None, 0.99999), ('int8', images, 0.9)):
        out = tmp_path / precision
        shutil.copytree(folder / 'out', out)
        reduce_precision(out, precision, calibration)
        sizes[precision] = os.path.getsize(out / 'model.onnx')
        vectors, plain = (open_export(f).embed(images)[0] for f in (out, folder / 'out'))
        assert (vectors * plain).sum(1).min() > least
        assert np.abs(vectors - plain).max() > 0
    assert sizes['int8'] < 0.3 * sizes['fp32'] and sizes['fp16'] < 0.55 * sizes['fp32']
    with pytest.raises(ConfigError, match='precision'):
        reduce_precision(folder / 'out', 'int4')


def test_search_by_image_and_text(tmp_path):
    archive = make_patternnet(tmp_path / 'set', images_per_class=2, size=40) / 'images'
    config = ROOT / 'configs/demo/weicom_tiny_patterncom.py'
    options = {'model.arch': ARCH, 'test_dataloader.dataset.pipeline': PIPELINE}
    search = ImageSearch(archive, config, index_dir=tmp_path / 'index', options=options)
    export(config, None, tmp_path / 'out', options=options)
    query = archive / 'airplane/airplane001.jpg'
    for text in (None, 'with Boats'):
        expected = search(query, text, lam=0.3, k=8)
        more = ['--text', text, '--lam', 0.3] if text else []
        run_exported(
            tmp_path / 'out', archive, '--query', query, '-k', 8, *more, '--out', tmp_path / 'found'
        )
        with open(tmp_path / 'found/ranking.csv') as file:
            rows = list(csv.DictReader(file))
        scores = [float(row['score']) for row in rows]
        np.testing.assert_allclose(scores, [hit.score for hit in expected], atol=1e-4)
        assert [row['image'] for row in rows] == [hit.path for hit in expected]
    index = {'index_dir': tmp_path / 'index', 'options': options}
    found = ImageSearch(archive, config, backend=tmp_path / 'out', **index)
    assert found.update.kept == len(found)  # the index of torch serves
    hits = found(query, 'with Boats', lam=0.3, k=8)
    np.testing.assert_allclose([hit.score for hit in hits], [e.score for e in expected], atol=1e-4)
    smaller = ImageSearch(archive, config, backend='bfloat16', **index)
    assert smaller.update.added == len(found)  # and this one does not go into it


@MODELS.register_module()
class ToyExported(ToyChangeModel):
    """The toy with what an export asks a change detector."""

    backbone_inchannels, test_cfg = 3, None


def check_change(config, out, images, options, checkpoint=None, **tiles):
    """The mask of the exported model equals that of the detector, where it is not undecided."""
    detector = ChangeDetector(config, checkpoint, 'cpu', options, **tiles)
    expected = detector(*images)
    sizes = [item for key, value in tiles.items() for item in (f'--{key}', value)]
    run_exported(out, *images, '--out', out / 'found', '--probability', *sizes)
    mask = np.asarray(Image.open(out / 'found/0_1_change.png'))
    import rasterio

    with rasterio.open(out / 'found/0_1_probability.tif') as file:
        probability = file.read(1)
    np.testing.assert_allclose(probability, expected.probability, atol=1e-4)
    sure = np.abs(expected.probability - 0.5) > 1e-4
    assert ((mask == 255) == (expected.mask == 1))[sure].all()
    assert 0 < (mask == 255).mean() < 1


def test_changes_in_tiles(tmp_path):
    from mmengine.config import Config

    pipeline = [dict(type='MultiImgLoadImageFromFile'), dict(type='MultiImgPackSegInputs')]
    config = Config(
        dict(
            model={**toy_model_config(), 'type': 'rs_mm.ToyExported'},
            test_dataloader=dict(dataset=dict(type='LEVIR_CD_Dataset', pipeline=pipeline)),
        )
    )
    info = export(config, None, tmp_path / 'out', shape=[64])
    assert info['tile'] == [64, 64] and info['graphs']['model']['max_difference'] < 1e-5
    images = pictures(tmp_path / 'images', 2, (150, 100))
    torch.manual_seed(0)
    check_change(config, tmp_path / 'out', images, None, tile=64, overlap=32)

    import onnx

    known = onnx.load(tmp_path / 'out/model.onnx', load_external_data=False).metadata_props
    known = {item.key: json.loads(item.value) for item in known}
    assert known['model_type'] == 'Segmentor' and known['tiles_size'] == 64
    assert known['class_names'] == {'0': 'unchanged', '1': 'changed'}
    assert known['standardization_mean'][0] == pytest.approx(123.675 / 255)


def test_bad_input(grn, tmp_path):
    folder, options, _ = grn
    with pytest.raises(MissingFileError, match='holds no exported model'):
        open_export(tmp_path)
    (tmp_path / 'model.json').write_text('{"task": 3')
    with pytest.raises(DataError, match='is damaged'):
        open_export(tmp_path)
    with pytest.raises(ConfigError, match="format 'tflite': choose one of onnx, torch"):
        export(GRN, format='tflite')
    with pytest.raises(ConfigError, match='supports are for a few-shot segmenter'):
        export(GRN, folder / 'weights.pth', tmp_path, options=options, supports=[(1, 2)])
    steps = {'test_dataloader.dataset.pipeline.1.type': 'RandomColour'}
    with pytest.raises(ConfigError, match='RandomColour of the test pipeline has no counterpart'):
        export(GRN, folder / 'weights.pth', tmp_path, options=options | steps)
    with pytest.raises(ConfigError, match='it takes no text'):
        open_export(folder / 'out').embed_texts(['boats'])


def test_calibration_takes_the_training_set(tmp_path):
    names = [f'{i:02d}.png' for i in range(10)]
    for folder in ('A', 'B', 'label'):
        pictures(tmp_path / folder, 0)
        for name in names:
            Image.new('L' if folder == 'label' else 'RGB', (8, 8)).save(tmp_path / folder / name)
    (tmp_path / 'train.txt').write_text('\n'.join(names[:6]))
    dataset = dict(
        type='ChangeDetectionDataset',
        data_root=str(tmp_path),
        ann_file='train.txt',
        data_prefix=dict(img_path_from='A', img_path_to='B', seg_map_path='label'),
    )
    cfg = dict(train_dataloader=dict(dataset=dict(type='RepeatDataset', dataset=dataset, times=9)))
    found = [Path(path) for path in training_images(cfg, 3)]
    assert [path.parent.name for path in found] == ['A', 'B'] * 3
    assert [path.name for path in found[::2]] == ['00.png', '02.png', '04.png']
    with pytest.raises(ConfigError, match='positive number'):
        training_images(cfg, 0)
    with pytest.raises(ConfigError, match='no `train_dataloader`'):
        training_images({}, 3)


@pytest.mark.slow
@pytest.mark.parametrize('backbone', ['swin', 'vitae'])
def test_dsqnet(backbone, tmp_path):
    config = ROOT / (
        f'configs/DSQNet/DSQNet_{backbone}_imp_256x256_80k_levircd_lr1e-3_bs8_wd0.05.py'
    )
    options = {
        'model.backbone.init_cfg': None,
        'model.test_cfg.crop_size': [96, 96],
        'model.test_cfg.stride': [48, 48],
        'randomness.seed': 1,
    }
    loaded = load_model(config, None, 'cpu', options)
    torch.save(dict(state_dict=loaded.model.state_dict()), tmp_path / 'w.pth')
    info = export(config, tmp_path / 'w.pth', tmp_path / 'out', options=options)
    assert info['tile'] == [96, 96] and info['stride'] == [48, 48]
    images = pictures(tmp_path / 'images', 2, (130, 170))
    check_change(config, tmp_path / 'out', images, options, tmp_path / 'w.pth')


@pytest.mark.slow
def test_sccnet(tmp_path):
    make_isaid_5i(tmp_path / 'set', n_per_class=2, size=64)
    images = pictures(tmp_path / 'images', 3, (64, 64))
    masks = []
    for i in range(2):
        mask = np.zeros((64, 64), np.uint8)
        mask[10 + 8 * i : 50, 12:44] = 255
        Image.fromarray(mask).save(tmp_path / f'mask{i}.png')
        masks.append(tmp_path / f'mask{i}.png')
    config = ROOT / 'configs/sccnet/sccnet_resnet50_256_200k_isaid_fold0.py'
    options = {
        'model.backbone.arch': 'resnet18',
        'model.backbone.init_cfg': None,
        'model.head.in_channels': (2, 2, 2),
        'randomness.seed': 11,
        'test_dataloader.dataset.pipeline.1.size': 96,
    }
    supports = list(zip(images[:2], masks))
    info = export(config, None, tmp_path / 'out', options=options, supports=supports)
    assert info['supports'] == ['0', '1']
    segmenter = FewShotSegmenter(config, None, 'cpu', options).fit(images[:2], masks)
    expected = segmenter(images[2])
    for support in ([], [x for pair in supports for x in ('--support', *pair)]):
        run_exported(tmp_path / 'out', images[2], '--out', tmp_path / 'found', *support)
        mask = np.asarray(Image.open(tmp_path / 'found/2_mask.png'))
        assert ((mask > 0) == (expected.mask > 0)).mean() > 0.999
        assert 0 < (mask > 0).mean() < 1
