"""The dataset configs of multi-label retrieval read the true layouts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from rs_mm.datasets.bigearthnet.convert import convert
from rs_mm.datasets.bigearthnet.folders import open_source
from rs_mm.datasets.fake.bigearthnet import make_bigearthnet_v1, make_bigearthnet_v2
from rs_mm.datasets.fake.multilabel_images import make_multilabel
from rs_mm.registry import DATASETS

BASE = Path(__file__).parents[2] / 'configs/_base_/datasets'


def first_batches(name, root, batch_size=3):
    """One batch per split, through the config's own dataloaders."""
    init_default_scope('rs_mm')
    cfg, batches = Config.fromfile(BASE / f'{name}.py'), {}
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.update(batch_size=batch_size, num_workers=0, persistent_workers=False)
        loader.dataset.data_root = str(root)
        batches[split] = next(iter(Runner.build_dataloader(loader, seed=0)))
    assert cfg.val_evaluator.type == cfg.test_evaluator.type == 'MultiLabelRetrievalMetric'
    return cfg, batches


@pytest.mark.parametrize(
    'name, by_scene',
    [('ucm', False), ('ucm', True), ('aid', False), ('aid', True), ('whdld', False)],
)
def test_image_sets(name, by_scene, tmp_path):
    splits = make_multilabel(tmp_path, name, images=30, size=32, by_scene=by_scene)
    cfg, batches = first_batches(f'{name}_ml', tmp_path)
    for split, batch in batches.items():
        assert torch.stack(list(batch['inputs'])).shape == (3, 3, 256, 256)
        listed = splits['test' if (split, name) == ('val', 'aid') else split]
        names = [sample.name for sample in batch['data_samples']]
        assert set(names) <= set(listed) and (split == 'train' or names == listed[:3])
        assert all(len(sample.gt_label) == cfg.num_classes for sample in batch['data_samples'])


@pytest.mark.parametrize('version', [make_bigearthnet_v1, make_bigearthnet_v2])
@pytest.mark.parametrize('bands, count', [('rgb', 3), ('10band', 10), ('12band', 12)])
def test_bigearthnet(version, bands, count, tmp_path):
    version(tmp_path / 'tree', 40)
    lists = {path.stem: path.read_text().split() for path in (tmp_path / 'splits').glob('*.csv')}
    convert(open_source(tmp_path / 'tree'), str(tmp_path / 'lmdb'), lists, workers=0)
    cfg, batches = first_batches(f'bigearthnet_{bands}_ml', tmp_path)
    # as published, the two evaluation lists are exchanged
    lists = {
        split: (tmp_path / f'lmdb/splits/{source}.csv').read_text().split()
        for split, source in (('train', 'train'), ('val', 'test'), ('test', 'val'))
    }
    for split, batch in batches.items():
        inputs = torch.stack(list(batch['inputs']))
        assert inputs.shape == (3, count, 120, 120) and inputs.isfinite().all()
        assert inputs.mean().abs() < 1.5
        assert {sample.name for sample in batch['data_samples']} <= set(lists[split])
        assert all(len(sample.gt_label) == 19 for sample in batch['data_samples'])


def test_grn_pipelines(tmp_path):
    splits = make_multilabel(tmp_path, 'ucm', images=30, size=32, by_scene=True)
    cfg = Config.fromfile(BASE / 'grn_256.py')
    init_default_scope('rs_mm')
    make = dict(
        data_root=str(tmp_path), img_dirs='Images/*', label_table='ucm', split=splits['train']
    )
    train = DATASETS.build(cfg.train_dataloader.dataset | make)
    test = DATASETS.build(cfg.test_dataloader.dataset | make)
    inputs = test[0]['inputs']
    assert inputs.shape == (3, 256, 256) and inputs.dtype == torch.float32
    low, high = (np.array((0, 1))[:, None] - np.array((0.485, 0.456, 0.406))) / (
        0.229,
        0.224,
        0.225,
    )
    assert (inputs.amin((1, 2)).numpy() >= low - 1e-4).all()
    assert (inputs.amax((1, 2)).numpy() <= high + 1e-4).all()
    assert not torch.equal(train[0]['inputs'], train[0]['inputs'])
