"""The data tools on generated sets: what they find, write and return."""

import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from mmengine.config import Config
from PIL import Image

from rs_mm.analysis.browse import browse_dataset
from rs_mm.analysis.dataset_check import check_config, format_report
from rs_mm.datasets.fake.change_pairs import make_dsifn, make_levir_cd
from rs_mm.errors import ConfigError
from tests.toy_change import toy_model_config

ROOT = Path(__file__).parents[2]
BASE = ROOT / 'configs/_base_/datasets'


@pytest.fixture
def levir(tmp_path):
    """A generated set and a config that reads it."""
    make_levir_cd(tmp_path / 'data', n_train=5, n_val=2, n_test=2, size=64)
    config = tmp_path / 'levir.py'
    cfg = Config.fromfile(BASE / 'levircd_256.py')
    cfg.default_scope = 'rs_mm'
    cfg.model = toy_model_config()
    cfg.custom_imports = dict(imports=['tests.toy_change'])
    for split in ('train', 'val', 'test'):
        cfg[f'{split}_dataloader'].dataset.data_root = str(tmp_path / 'data')
    cfg.train_dataloader.dataset.pipeline[3].crop_size = (32, 32)
    cfg.dump(config)
    return tmp_path / 'data', config


def test_check_of_a_good_set(levir):
    report = check_config(levir[1], num_workers=2)
    assert [report[s]['samples'] for s in ('train', 'val', 'test')] == [5, 2, 2]
    assert not any(found['problems'] for found in report.values())
    train = report['train']
    assert train['sizes'] == {'64x64': 5}
    labels = [np.asarray(Image.open(f)) for f in (levir[0] / 'train/label').iterdir()]
    assert train['classes']['changed']['count'] == sum((x == 255).sum() for x in labels)
    assert train['classes']['changed']['samples'] == sum(x.any() for x in labels)
    text = format_report(report)
    assert 'train: 5 samples of 64x64 (5)' in text and '0 problem(s)' in text


def test_check_finds_every_kind_of_damage(levir):
    root, config = levir
    (root / 'train/A/train_1.png').write_bytes(b'x')
    Image.new('RGB', (64, 32)).save(root / 'train/B/train_2.png')
    Image.new('L', (32, 64)).save(root / 'train/label/train_3.png')
    Image.new('L', (64, 64), 9).save(root / 'train/label/train_4.png')
    for file in (root / 'val/label').iterdir():
        Image.new('L', (64, 64)).save(file)
    (root / 'test/B/test_1.png').unlink()
    report = check_config(config, num_workers=1)
    for problem, words in zip(
        report['train']['problems'],
        (
            'A/train_1.png: ',
            'train_2.png is 32 x 64',
            'train_3.png is 64 x 32',
            'train_4.png holds the values 9',
        ),
    ):
        assert words in problem
    assert len(report['train']['problems']) == 4
    assert "no label of the val split holds the class 'changed'" in report['val']['problems'][0]
    assert 'has no partner' in report['test']['problems'][0]
    shutil.rmtree(root / 'val')
    assert 'does not exist' in check_config(config, ['val'])['val']['problems'][0]


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs a tool within this process: returns its exit status and what it printed."""

    def run_tool(tool, *arguments):
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, arguments)])
        capsys.readouterr()
        try:
            runpy.run_path(str(ROOT / 'tools' / tool), run_name='__main__')
            status = 0
        except SystemExit as end:
            status = end.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run_tool


def test_check_of_another_family(tmp_path):
    """Samples go through their pipeline; the table counts images per label."""
    from rs_mm.datasets.fake.multilabel_images import make_ucm

    make_ucm(tmp_path)
    found = check_config(
        BASE / 'ucm_ml.py', ['test'], 1, {'test_dataloader.dataset.data_root': str(tmp_path)}
    )['test']
    assert found['samples'] > 0 and not found['problems']
    assert sum(c['count'] for c in found['classes'].values()) >= found['samples']


def test_check_finds_training_images_among_the_others(tmp_path):
    from rs_mm.datasets.fake.multilabel_images import make_multilabel

    make_multilabel(tmp_path, 'ucm', images=20, size=32)
    options = {
        f'{split}_dataloader.dataset.data_root': str(tmp_path) for split in ('train', 'val', 'test')
    }

    def problems(split):
        return check_config(BASE / 'ucm_ml.py', ['train', split], 1, options)[split]['problems']

    assert problems('test') == []
    shutil.copy(tmp_path / 'train.csv', tmp_path / 'test.csv')
    (found,) = problems('test')
    assert found.startswith('14 of the 14 test images are training images, e.g. ')


def test_check_notes_episodes_of_one_image_in_two_splits(tmp_path):
    from rs_mm.datasets.fake.few_shot_scenes import make_dlrsd_5i

    make_dlrsd_5i(tmp_path, n_per_class=2, size=32)
    places = dict(data_root=str(tmp_path), list_dir=f'{tmp_path}/lists')
    options = {
        f'{split}_dataloader.dataset.{key}': value
        for split in ('train', 'test')
        for key, value in places.items()
    }
    report = check_config(BASE / 'fss_dlrsd_5i_fold0.py', ['train', 'test'], 1, options)['test']
    assert 'training images, e.g.' in report['notes'][0] and 'other classes' in report['notes'][0]
    assert 'NOTE: ' in format_report(dict(test=report))
    assert not any('training images' in problem for problem in report['problems'])


def test_check_tool_exits_with_1_on_problems(levir, tmp_path, run):
    root, config = levir
    (root / 'test/label/test_2.png').write_bytes(b'')
    status, out, _ = run(
        'analysis_tools/check_dataset.py',
        config,
        '--split',
        'test',
        '--out',
        tmp_path / 'report.json',
    )
    assert status == 1
    assert 'PROBLEM' in out and 'test_2.png' in out
    assert json.loads((tmp_path / 'report.json').read_text())['test']['samples'] == 2


def test_browse(levir, tmp_path):
    root, config = levir
    out = tmp_path / 'pictures'
    assert browse_dataset(config, out, num=7) == 7  # more than the five pairs
    files = sorted(out.iterdir())
    assert len(files) == 7 and Image.open(files[0]).mode == 'RGB'
    again = tmp_path / 'again'
    browse_dataset(config, again, num=1)
    assert files[0].read_bytes() == (again / files[0].name).read_bytes()
    with pytest.raises(ConfigError, match='has no train_dataloader'):
        browse_dataset(ROOT / 'configs/_base_/default_runtime.py', out)


@pytest.mark.parametrize(
    'tool',
    [
        'analysis_tools/browse_dataset.py',
        'predict_change.py',
        'analysis_tools/check_dataset.py',
        'dataset_converters/make_fake.py',
    ],
)
def test_help_needs_no_heavy_import(tool):
    done = subprocess.run(
        [sys.executable, '-S', str(ROOT / 'tools' / tool), '--help'],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
    )  # -S: no third-party package at all
    assert done.returncode == 0 and 'usage' in done.stdout


def test_make_fake(tmp_path, run):
    tool = 'dataset_converters/make_fake.py'
    assert (
        run(tool, 'dsifn', tmp_path, '--set', 'n_train=1', 'n_val=1', 'n_test=1', 'size=32')[0] == 0
    )
    status, _, err = run(tool, 'dsifn', tmp_path)
    assert status == 2 and f'{tmp_path} is not empty' in err
    make_dsifn(tmp_path / 'same', 1, 1, 1, 32)
    for file in ('train/t1/train_1.jpg', 'test/mask/test_1.tif'):
        assert (tmp_path / file).read_bytes() == (tmp_path / 'same' / file).read_bytes()
    status, _, err = run(tool, 'dsifn', tmp_path, '--set', 'n=1')
    assert status == 2 and 'n_train, n_val, n_test, size, seed' in err
    for option in ('images=-3', 'images=0', 'dataset=1', 'seed=-1'):
        status, _, err = run(tool, 'ucm', tmp_path / 'new', '--set', option)
        assert status == 2 and f'--set {option}: ' in err and not (tmp_path / 'new').exists()


def write_geotiffs(folder, origins, shapes):
    """Two 16-bit four-band GeoTIFFs cut from one scene of 10 m pixels."""
    scene = np.random.default_rng(0).integers(0, 3000, (100, 120, 4)).astype(np.uint16)
    for name, (x, y), (h, w) in zip(('first', 'second'), origins, shapes):
        tags = [
            (33550, 'd', 3, (10.0, 10.0, 0.0), True),
            (33922, 'd', 6, (0, 0, 0, 5e5 + 10 * x, 5.1e6 - 10 * y, 0), True),
            (34735, 'H', 8, (1, 1, 0, 1, 3072, 0, 1, 32633), True),
        ]
        tifffile.imwrite(
            folder / f'{name}.tif',
            scene[y : y + h, x : x + w],
            extratags=tags,
            photometric='minisblack',
            planarconfig='contig',
        )


@pytest.fixture
def predict(levir, tmp_path, run, monkeypatch):
    from rs_mm.registry import MODELS

    torch.manual_seed(0)
    torch.save(dict(state_dict=MODELS.build(toy_model_config()).state_dict()), tmp_path / 'toy.pth')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    return lambda *arguments: run(
        'predict_change.py',
        tmp_path / 'first.tif',
        tmp_path / 'second.tif',
        levir[1],
        tmp_path / 'toy.pth',
        '--out',
        tmp_path / 'out',
        '--bands',
        2,
        1,
        0,
        *arguments,
    )


def read(path):
    rasterio = pytest.importorskip('rasterio')
    with rasterio.open(path) as file:
        return file.read(1), (file.crs, file.transform)


def test_predict_writes_a_georeferenced_mask(predict, tmp_path):
    write_geotiffs(tmp_path, [(0, 0), (0, 0)], [(70, 90), (70, 90)])
    status, out, err = predict('--probability')
    assert status == 0, err
    mask, place = read(tmp_path / 'out/first_second_change.tif')
    assert place == read(tmp_path / 'first.tif')[1] and place[0].to_epsg() == 32633
    assert mask.shape == (70, 90) and set(np.unique(mask)) <= {0, 255}
    probability = tifffile.imread(tmp_path / 'out/first_second_probability.tif')
    np.testing.assert_array_equal(probability > 0.5, mask > 0)
    assert (tmp_path / 'out/first_second_picture.png').exists()
    # both dates are the same scene: every pixel has the answer to "no difference"
    assert np.ptp(probability) == 0


def test_predict_refuses_unequal_sizes_unless_cropped(predict, tmp_path):
    write_geotiffs(tmp_path, [(0, 0), (0, 0)], [(70, 90), (71, 90)])
    status, _, err = predict()
    assert status == 2 and len(err.strip().splitlines()) == 1
    assert 'date 1 has 70 x 90 pixels and date 2 has 71 x 90' in err and '--align crop' in err
    assert predict('--align', 'crop')[0] == 0
    assert read(tmp_path / 'out/first_second_change.tif')[0].shape == (70, 90)


def test_predict_aligns_by_the_georeference(predict, tmp_path):
    write_geotiffs(tmp_path, [(5, 0), (9, 8)], [(70, 90), (70, 90)])
    status, _, err = predict()
    assert status == 2 and 'do not show the same ground' in err and '--align ground' in err
    status, _, err = predict('--align', 'ground', '--probability')
    assert status == 0, err
    mask, (_, transform) = read(tmp_path / 'out/first_second_change.tif')
    assert mask.shape == (62, 86)
    assert (transform.c, transform.f) == (5e5 + 90, 5.1e6 - 80)
    assert np.ptp(tifffile.imread(tmp_path / 'out/first_second_probability.tif')) == 0
    write_geotiffs(tmp_path, [(0, 0), (100, 0)], [(70, 90), (70, 20)])
    status, _, err = predict('--align', 'ground')
    assert status == 2 and 'have no ground in common' in err


def test_predict_folders(levir, predict, run, tmp_path):
    """Equally named files are pairs; a file without a partner is named."""
    folders = [levir[0] / 'test' / name for name in 'AB']
    rest = [levir[1], tmp_path / 'toy.pth', '--out', tmp_path / 'out']
    status, out, err = run('predict_change.py', *folders, *rest)
    assert status == 0, err
    masks = [np.asarray(Image.open(tmp_path / f'out/test_{i}_change.png')) for i in (1, 2)]
    assert all(mask.shape == (64, 64) and mask.dtype == np.uint8 for mask in masks)
    (folders[1] / 'test_2.png').unlink()
    status, _, err = run('predict_change.py', *folders, *rest)
    assert status == 2 and 'test_2.png is not in' in err
    status, _, err = run('predict_change.py', folders[0] / 'test_1.png', folders[1], *rest)
    assert status == 2 and 'two files or two folders' in err
