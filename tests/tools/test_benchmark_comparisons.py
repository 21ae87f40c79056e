"""The scripts that compare methods on small real sets, here on generated ones."""

import json
import runpy
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from rs_mm.datasets.fake.change_pairs import make_levir_cd
from rs_mm.datasets.fake.multilabel_images import make_aid
from rs_mm.errors import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _one_thread(_seed):
    torch.set_num_threads(1)  # steps this small are slower on several


def tool(name):
    return runpy.run_path(str(ROOT / f'tools/benchmarks/{name}.py'))


def inherit(path, base, text):
    path.write_text(f"_base_ = '{ROOT / base}'\n{text}")
    return str(path)


def test_each_pair_is_left_out_once(tmp_path, capsys):
    pairs = make_levir_cd(tmp_path / 'data', n_train=2, n_val=1, n_test=1, size=64) / 'train'
    script = tool('change_pairs')
    short = 'train_cfg = dict(max_iters=1)\nparam_scheduler = []'
    script['METHODS']['unet'] = inherit(tmp_path / 'a.py', script['METHODS']['unet'], short)
    args = Namespace(sets=[f'x={pairs}'], seeds=[0], out=str(tmp_path / 'out'), methods=['unet'])
    script['compare_methods'](args)
    assert '| all_IoU | unet | 1 |' in capsys.readouterr().out
    folder = tmp_path / 'out' / 'x' / 'unet' / 'seed0'
    hits = wrong = missed = 0
    for name, other in ((1, 2), (2, 1)):
        fold = folder / 'folds' / f'train_{name}'
        assert (fold / 'test.txt').read_text() == f'train_{name}.png'
        assert (fold / 'train.txt').read_text() == f'train_{other}.png'
        (_, more), (less, hit) = json.loads((fold / 'fold.json').read_text())['confusion']
        hits, wrong, missed = hits + hit, wrong + more, missed + less
    metrics = json.loads((folder / 'metrics.json').read_text())
    assert metrics['all_IoU'] == pytest.approx(100 * hits / (hits + wrong + missed))
    for path in (folder / 'folds').glob('*/fold.json'):
        path.unlink()
    script['compare_methods'](args)  # finished: nothing is trained again
    assert not list((folder / 'folds').glob('*/fold.json'))


def test_a_set_without_a_name_is_refused(tmp_path):
    args = Namespace(sets=['data'], seeds=[0], out=str(tmp_path), methods=['unet'])
    with pytest.raises(ConfigError, match='NAME=FOLDER'):
        tool('change_pairs')['compare_methods'](args)
    args.sets = [f'x={tmp_path}']
    with pytest.raises(ConfigError, match='at least two pairs'):
        tool('change_pairs')['compare_methods'](args)


def test_losses_and_encoders_on_aid(tmp_path, capsys):
    make_aid(tmp_path / 'AID', images=150, size=32)
    script = tool('aid_encoders')
    unchecked = ', '.join(
        f'{name}_dataloader=dict(dataset=dict(split=dict(expected=None)))'
        for name in ('train', 'val', 'test')
    )
    text = f"""
globals().update({unchecked})
train_dataloader['batch_size'] = 8
train_cfg = dict(max_epochs=1)
ranks = dict(type='MultiLabelRetrievalMetric', at=[5], shared_at=[1])
val_evaluator = ranks
test_evaluator = [ranks]
custom_hooks = []
"""
    method = 'BCE_ViT'
    base = script['METHODS'][method]
    script['METHODS'][method] = inherit(tmp_path / 'a.py', base, text)
    args = Namespace(
        data=str(tmp_path / 'AID'), seeds=[0], out=str(tmp_path / 'out'), methods=[method]
    )
    script['compare_methods'](args)
    assert '| retrieval/mAP_easy | BCE_ViT | 1 |' in capsys.readouterr().out
    assert (tmp_path / 'out' / method / 'seed0' / 'samples.csv').is_file()
