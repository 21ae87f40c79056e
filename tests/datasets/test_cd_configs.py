"""The dataset configs of change detection read the true layouts."""

from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from rs_mm.datasets.fake import change_pairs as change
from rs_mm.registry import DATASETS, METRICS, VISUALIZERS
from tests.parity import load_case

BASE = Path(__file__).parents[2] / 'configs/_base_/datasets'
SETS = {
    'levircd_512': (change.make_levir_cd, 'LEVIR-CD', 512),
    'levircd_256': (change.make_levir_cd, 'LEVIR-CD', 256),
    'svcd_512': (change.make_svcd, 'SVCD', 256),
    's2looking_512': (change.make_s2looking, 'S2Looking', 512),
    's2looking_256': (change.make_s2looking, 'S2Looking', 256),
    'dsifn_256': (change.make_dsifn, 'DSIFN', 256),
    'whucd_256': (change.make_whu_cd, 'WHU-CD', 256),
    'clcd_512': (change.make_clcd, 'CLCD', 512),
}


@pytest.mark.parametrize('name', SETS)
def test_config_reads_its_layout(name, tmp_path):
    make, official, size = SETS[name]
    make(tmp_path, n_train=2, n_val=1, n_test=1, size=size)
    cfg = Config.fromfile(BASE / f'{name}.py')
    init_default_scope('rs_mm')
    crop = int(name.rsplit('_', 1)[1])
    for split, count in (('train', 2), ('val', 1), ('test', 1)):
        dataset_cfg = cfg[f'{split}_dataloader'].dataset
        dataset_cfg.data_root = str(tmp_path)
        dataset = DATASETS.build(dataset_cfg)
        assert len(dataset) == count
        item = dataset[0]
        label = item['data_samples'].gt_sem_seg.data.numpy()
        assert set(np.unique(label)) <= {0, 1, 255}
        if split == 'train':
            assert item['inputs'].shape == (6, crop, crop)
        else:
            assert label.shape == (1, size, size)
    METRICS.build(cfg.test_evaluator)
    VISUALIZERS.build(dict(cfg.visualizer, name=name))


def test_classes_and_folders_are_the_published_ones():
    manifest, _ = load_case('dsqnet', 'dsqnet_datasets')
    configs = {
        'LEVIR-CD': 'levircd_512',
        'SVCD': 'svcd_512',
        'DSIFN': 'dsifn_256',
        'WHU-CD': 'whucd_256',
        'CLCD': 'clcd_512',
    }
    for official, name in configs.items():
        published = manifest['datasets'][official]
        cfg = Config.fromfile(BASE / f'{name}.py')
        dataset_class = DATASETS.get(cfg.dataset_type)
        assert list(dataset_class.METAINFO['classes']) == published['classes']
        assert dataset_class.METAINFO['palette'] == published['palette']
        for split in ('train', 'val', 'test'):
            prefix = cfg[f'{split}_dataloader'].dataset.data_prefix
            assert list(prefix.values()) == published[split]


@pytest.mark.parametrize(
    'official, name',
    [('LEVIR-CD', 'levircd_512'), ('S2Looking', 's2looking_512'), ('CLCD', 'clcd_512')],
)
def test_sizes_are_the_published_ones(official, name):
    """Of the other sets the README says what differs and why."""
    published = load_case('dsqnet', 'dsqnet_datasets')[0]['datasets'][official]
    cfg = Config.fromfile(BASE / f'{name}.py')
    (crop,) = [
        step.crop_size
        for step in cfg.train_dataloader.dataset.pipeline
        if step.type == 'MultiImgRandomCrop'
    ]
    assert list(crop) == [published['crop']] * 2
    for split in ('val', 'test'):
        (scale,) = [
            step.scale
            for step in cfg[f'{split}_dataloader'].dataset.pipeline
            if step.type == 'MultiImgResize'
        ]
        assert list(scale) == published['test_resize']
