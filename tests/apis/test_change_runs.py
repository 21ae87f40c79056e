"""From generated data to scores and pictures through the real data path, with a toy model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from PIL import Image

from rs_mm.apis import ChangeDetector, train
from rs_mm.apis import test as run_test
from rs_mm.datasets.fake.change_pairs import make_levir_cd
from rs_mm.errors import ConfigError, DataError
from rs_mm.registry import METRICS
from tests.toy_change import ToyChangeModel, toy_model_config

BASE = 'configs/_base_'


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A config on generated data, and the checkpoint of 60 iterations."""
    root = tmp_path_factory.mktemp('change')
    make_levir_cd(root / 'data', n_train=6, n_val=2, n_test=3, size=96)
    cfg = Config.fromfile(f'{BASE}/datasets/levircd_256.py')
    cfg.merge_from_dict(dict(Config.fromfile(f'{BASE}/default_runtime.py')))
    cfg.model = toy_model_config()
    cfg.custom_imports = dict(imports=['tests.toy_change'])
    cfg.tta_model = dict(type='SegTTAModel')
    cfg.experiment_name = root.name
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=60, val_interval=30)
    cfg.val_cfg, cfg.test_cfg = dict(type='ValLoop'), dict(type='TestLoop')
    cfg.optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=0.02))
    cfg.default_hooks.checkpoint.update(interval=30, save_best='F1_changed', rule='greater')
    for split in ('train', 'val', 'test'):
        loader = cfg[f'{split}_dataloader']
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.data_root = str(root / 'data')
    cfg.train_dataloader.dataset.pipeline[3].crop_size = (64, 64)
    cfg.dump(root / 'config.py')
    train(root / 'config.py', work_dir=str(root / 'run'))
    return root


def test_training_beats_the_untrained_model(trained):
    best = list((trained / 'run').glob('best_F1_changed_*.pth'))
    assert len(best) == 1
    metrics = run_test(trained / 'config.py', str(best[0]), work_dir=str(trained / 'test'))
    untrained = run_test(trained / 'config.py', work_dir=str(trained / 'test'))
    assert metrics['F1_changed'] > untrained['F1_changed'] + 5
    for key in (
        'F1_changed',
        'Precision_changed',
        'Recall_changed',
        'IoU_changed',
        'aAcc',
        'kappa',
        'mFscore',
        'mPrecision',
        'mRecall',
        'mIoU',
        'mAcc',
    ):
        assert key in metrics


@pytest.mark.parametrize('tta', [False, True])
def test_without_a_checkpoint_the_weights_are_the_initial_ones(trained, tta, monkeypatch):
    """Those of ``init_weights``, not what the modules' constructors leave."""

    def change_everywhere(self):
        self.conv.bias.data = torch.tensor([0.0, 1e6])

    monkeypatch.setattr(ToyChangeModel, 'init_weights', change_everywhere)
    metrics = run_test(trained / 'config.py', tta=tta, work_dir=str(trained / 'test'))
    assert metrics['Recall_changed'] == 100


@pytest.mark.parametrize('tta', [False, True])
def test_pictures_and_masks(trained, tta):
    """One sheet and one raw mask per pair, for batches and for augmented views alike."""
    out = trained / f'pictures{tta}'
    options = {
        'default_hooks.visualization.save_mask': True,
        'test_dataloader.batch_size': 1 if tta else 2,
    }
    cfg = dict(work_dir=str(trained / 'test'), show_dir=str(out), tta=tta)
    metrics = run_test(trained / 'config.py', str(trained / 'run/iter_60.pth'), options, **cfg)
    assert sorted(f.name for f in out.glob('*.png')) == sorted(
        f'test_{i}{end}.png' for i in (1, 2, 3) for end in ('', '_mask')
    )
    masks = [np.asarray(Image.open(out / f'test_{i}_mask.png')) for i in (1, 2, 3)]
    labels = [np.asarray(Image.open(trained / f'data/test/label/test_{i}.png')) for i in (1, 2, 3)]
    assert all(set(np.unique(mask)) <= {0, 255} for mask in masks)
    masks, labels = np.stack(masks) > 0, np.stack(labels) > 0
    f1 = 2 * (masks & labels).sum() / (masks.sum() + labels.sum())
    assert metrics['F1_changed'] == pytest.approx(100 * f1, abs=0.01)


@METRICS.register_module()
class KeepMaps(BaseMetric):
    """Keeps what a test run predicted."""

    kept = {}

    def process(self, data_batch, data_samples):
        for sample in data_samples:
            self.kept[Path(sample['img_path'][0]).stem] = sample
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(count=len(results))


@pytest.mark.parametrize('resize', [False, True])
def test_the_detector_finds_what_the_test_does(trained, resize):
    """To the last bit; with ``resize`` the steps of the pipeline that change the size as well."""
    key = 'test_dataloader.dataset.pipeline'
    load, *rest = Config.fromfile(trained / 'config.py').test_dataloader.dataset.pipeline
    resized = [load, dict(type='MultiImgResize', scale=(64, 64), keep_ratio=True), *rest]
    options = {key: resized} if resize else {}
    run_test(
        trained / 'config.py',
        str(trained / 'run/iter_60.pth'),
        {**options, 'test_evaluator.type': 'KeepMaps'},
        work_dir=str(trained / 'test'),
    )
    detector = ChangeDetector(
        trained / 'config.py',
        trained / 'run/iter_60.pth',
        device='cpu',
        options=options,
        resize=resize,
    )
    for name, sample in KeepMaps.kept.items():
        found = detector(*[trained / f'data/test/{date}/{name}.png' for date in 'AB'])
        expected = sample['pred_sem_seg']['data'][0].numpy()
        np.testing.assert_array_equal(found.mask, expected)
        wanted = 1 - sample['seg_logits']['data'].float().softmax(0)[0].numpy()
        clear = np.abs(wanted - 0.5) > 1e-6  # one half is settled by the class
        np.testing.assert_array_equal(found.probability[clear], wanted[clear])
    assert len(KeepMaps.kept) == 3


def test_a_batch_of_unequal_sizes(trained):
    """Training pads it; testing cuts each prediction back."""
    folder = trained / 'data/test'
    for name in ('A', 'B', 'label'):
        image = Image.open(folder / name / 'test_1.png')
        (trained / 'odd' / name).mkdir(parents=True)
        image.save(trained / 'odd' / name / 'a.png')
        image.crop((0, 0, 50, 80)).save(trained / 'odd' / name / 'b.png')
    prefix = dict(img_path_from='odd/A', img_path_to='odd/B', seg_map_path='odd/label')
    options = {
        'test_dataloader.dataset.data_root': str(trained),
        'test_dataloader.dataset.data_prefix': prefix,
        'test_dataloader.batch_size': 2,
    }
    metrics = run_test(
        trained / 'config.py',
        str(trained / 'run/iter_60.pth'),
        options,
        work_dir=str(trained / 'test'),
    )
    alone = run_test(
        trained / 'config.py',
        str(trained / 'run/iter_60.pth'),
        {**options, 'test_dataloader.batch_size': 1},
        work_dir=str(trained / 'test'),
    )
    assert metrics['aAcc'] == pytest.approx(alone['aAcc'], abs=0.5)


def test_crop_larger_than_the_image(trained):
    options = {'train_dataloader.dataset.pipeline.3.crop_size': (128, 128)}
    with pytest.raises(DataError, match=r'crop_size \(128, 128\) is larger than the image 96 x 96'):
        train(trained / 'config.py', options, work_dir=str(trained / 'crop'))


@pytest.mark.parametrize('run', [train, run_test])
def test_classes_of_head_and_dataset_differ(trained, tmp_path, run):
    options = {'model.decode_head.num_classes': 3, 'train_cfg.max_iters': 1}
    for split in ('train', 'val', 'test'):
        options[f'{split}_dataloader.dataset.data_root'] = str(trained / 'data')
    config = 'configs/demo/dsqnet_swin_demo.py'
    with pytest.raises(ConfigError, match=r'num_classes=3, but .* 2 classes \(unchanged, ch'):
        if run is train:
            train(config, options, work_dir=str(tmp_path))
        else:
            run_test(config, None, options, work_dir=str(tmp_path))
