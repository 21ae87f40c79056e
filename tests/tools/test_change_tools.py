"""The data tools on generated sets: what they find, write and return."""

import json
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

from rs_mm.apis.browse import browse_dataset
from rs_mm.apis.dataset_check import check_config, format_report
from rs_mm.datasets.fake.change import make_dsifn, make_levir_cd
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
    assert train['classes']['changed']['pixels'] == sum((x == 255).sum() for x in labels)
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
    for problem, words in zip(report['train']['problems'], (
            'A/train_1.png is not a readable', 'train_2.png is 32 x 64', 'train_3.png is 64 x 32',
            'train_4.png holds the values 9')):
        assert words in problem
    assert len(report['train']['problems']) == 4
    assert 'no label of the val split holds the class \'changed\'' in report['val']['problems'][0]
    assert 'has no partner' in report['test']['problems'][0]
    shutil.rmtree(root / 'val')
    assert 'does not exist' in check_config(config, ['val'])['val']['problems'][0]


def run(tool, *arguments, **kwargs):
    return subprocess.run([sys.executable, str(ROOT / 'tools' / tool), *map(str, arguments)],
                          capture_output=True, text=True, cwd=ROOT, timeout=300, **kwargs)


def test_check_tool_exits_with_1_on_problems(levir, tmp_path):
    root, config = levir
    (root / 'test/label/test_2.png').write_bytes(b'')
    done = run('analysis_tools/check_dataset.py', config, '--split', 'test', '--out',
               tmp_path / 'report.json')
    assert done.returncode == 1, done.stderr
    assert 'PROBLEM' in done.stdout and 'test_2.png' in done.stdout
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


@pytest.mark.parametrize('tool', ['analysis_tools/browse_dataset.py', 'predict_change.py',
                                  'analysis_tools/check_dataset.py',
                                  'dataset_converters/make_fake.py'])
def test_help_needs_no_heavy_import(tool):
    done = run(tool, '--help', env={'PYTHONPATH': '/nowhere', 'PYTHONNOUSERSITE': '1'})
    assert done.returncode == 0 and 'usage' in done.stdout
    source = (ROOT / 'tools' / tool).read_text()
    top = source[:source.index('def parse_args')]
    assert 'rs_mm' not in '\n'.join(x for x in top.splitlines() if x.startswith(('import', 'from')))


def test_make_fake(tmp_path):
    done = run('dataset_converters/make_fake.py', 'dsifn', tmp_path, '--set', 'n_train=1',
               'n_val=1', 'n_test=1', 'size=32')
    assert done.returncode == 0, done.stderr
    make_dsifn(tmp_path / 'same', 1, 1, 1, 32)
    for file in ('train/t1/train_1.jpg', 'test/mask/test_1.tif'):
        assert (tmp_path / file).read_bytes() == (tmp_path / 'same' / file).read_bytes()
    done = run('dataset_converters/make_fake.py', 'dsifn', tmp_path, '--set', 'n=1')
    assert done.returncode == 2 and 'n_train, n_val, n_test, size, seed' in done.stderr


def test_predict_tool_on_geotiffs(levir, tmp_path):
    """A mask with the georeference of date 1; unequal sizes are refused unless cropped."""
    from rs_mm.registry import MODELS
    torch.manual_seed(0)
    model = MODELS.build(toy_model_config())
    checkpoint = tmp_path / 'toy.pth'
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    rng = np.random.default_rng(0)
    tags = [(33550, 'd', 3, (10.0, 10.0, 0.0), True),
            (33922, 'd', 6, (0, 0, 0, 5e5, 5.1e6, 0), True),
            (34735, 'H', 8, (1, 1, 0, 1, 3072, 0, 1, 32633), True)]
    for name, height in (('first', 70), ('second', 71)):
        tifffile.imwrite(tmp_path / f'{name}.tif',
                         rng.integers(0, 3000, (height, 90, 4)).astype(np.uint16),
                         photometric='minisblack', planarconfig='contig', extratags=tags)
    arguments = ['predict_change.py', tmp_path / 'first.tif', tmp_path / 'second.tif', levir[1],
                 checkpoint, '--out', tmp_path / 'out', '--bands', 2, 1, 0, '--probability']
    done = run(*arguments, env=_environment())
    assert done.returncode == 2
    assert 'date 1 has 70 x 90 pixels and date 2 has 71 x 90' in done.stderr
    assert '--align crop' in done.stderr and len(done.stderr.strip().splitlines()) == 1
    done = run(*arguments, '--align', 'crop', env=_environment())
    assert done.returncode == 0, done.stderr
    with tifffile.TiffFile(tmp_path / 'out/first_second_change.tif') as tif:
        page = tif.pages[0]
        mask = page.asarray()
        for code, _, _, value, _ in tags:
            assert tuple(page.tags[code].value) == tuple(value)
    assert mask.shape == (70, 90) and set(np.unique(mask)) <= {0, 255}
    probability = tifffile.imread(tmp_path / 'out/first_second_probability.tif')
    np.testing.assert_array_equal(probability > 0.5, mask > 0)
    assert (tmp_path / 'out/first_second_change.jpg').exists()


def _environment():
    import os
    return dict(os.environ, PYTHONPATH=str(ROOT), CUDA_VISIBLE_DEVICES='')
