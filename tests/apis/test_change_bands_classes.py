"""Change detection with 5 bands and 4 classes, from training to prediction, by config alone."""

import csv

import numpy as np
import pytest
import tifffile
from PIL import Image

from rs_mm.analysis.dataset_check import check_config
from rs_mm.apis import ChangeDetector, test, train

CONFIG = """
_base_ = '{base}'
classes = ('unchanged', 'built', 'razed', 'flooded')
bands = [0, 1, 2, 3, 4]
dataset = dict(
    _delete_=True,
    type='ChangeDetectionDataset',
    data_root='{root}',
    img_suffix='.tif',
    format_seg_map=None,
    metainfo=dict(classes=classes),
    data_prefix=dict(img_path_from='A', img_path_to='B', seg_map_path='label'),
    pipeline=[
        dict(type='MultiImgLoadTiff', bands=bands),
        dict(type='MultiImgLoadAnnotations'),
        dict(type='MultiImgPackSegInputs'),
    ],
)
loader = dict(num_workers=0, batch_size=2)
train_dataloader = dict(dataset=dataset, **loader)
val_dataloader = dict(dataset=dataset, **loader)
test_dataloader = dict(dataset=dataset, **loader)
norm = dict(type='BN')
model = dict(
    data_preprocessor=dict(mean=[100.0] * 10, std=[50.0] * 10, bgr_to_rgb=False),
    backbone_inchannels=5,
    backbone=dict(model='convnext_atto', in_channels=10, init_cfg=None),
    decode_head=dict(num_classes=4, out_channels=4, channels=8, norm_cfg=norm),
    test_cfg=dict(_delete_=True, mode='whole'),
)
visualizer = dict(bands=(4, 3, 0))
train_cfg = dict(max_iters=2, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2))
"""


@pytest.fixture
def run(tmp_path):
    generator = np.random.default_rng(0)
    for part in ('A', 'B', 'label'):
        (tmp_path / 'data' / part).mkdir(parents=True)
    for name in 'xyz':
        label = generator.integers(0, 4, (64, 64), dtype=np.uint8)
        Image.fromarray(label).save(tmp_path / 'data' / 'label' / f'{name}.png')
        for part in 'AB':
            pixels = generator.integers(0, 200, (64, 64, 5), dtype=np.uint8)
            tifffile.imwrite(
                tmp_path / 'data' / part / f'{name}.tif', pixels, planarconfig='contig'
            )
    base = 'configs/change_baselines/unet_r50_256x256_80k_dsifn.py'
    text = CONFIG.format(
        base=f'{__file__[: __file__.index("tests")]}{base}', root=tmp_path / 'data'
    )
    (tmp_path / 'config.py').write_text(text)
    return tmp_path / 'config.py'


@pytest.mark.slow
def test_five_bands_and_four_classes(run, tmp_path):
    assert not check_config(run, ['train'], 1)['train']['problems']
    train(run, work_dir=tmp_path / 'work')
    checkpoint = str(tmp_path / 'work' / 'iter_2.pth')
    scores = test(
        str(run),
        checkpoint,
        work_dir=tmp_path / 'work',
        out_samples=str(tmp_path / 'samples.csv'),
        show_dir=str(tmp_path / 'worst'),
        worst=1,
        out_curves=str(tmp_path / 'curves'),
    )
    assert {'F1_built', 'F1_razed', 'F1_flooded', 'mIoU'} <= set(scores)
    with open(tmp_path / 'samples.csv', newline='') as file:
        rows = list(csv.DictReader(file))
    assert [row['sample'] for row in rows] == ['x', 'y', 'z'] and 'IoU_flooded' in rows[0]
    lowest = min(rows, key=lambda row: float(row['IoU']))
    assert [p.name for p in (tmp_path / 'worst').iterdir()] == [f'{lowest["sample"]}.png']
    assert len(list((tmp_path / 'curves').glob('curve_*.csv'))) == 3
    detector = ChangeDetector(str(run), checkpoint, device='cpu')
    result = detector(*(tmp_path / 'data' / part / 'x.tif' for part in 'AB'))
    assert result.mask.shape == (64, 64) and set(np.unique(result.mask)) <= set(range(4))
