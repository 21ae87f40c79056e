"""A small set is decoded once, and random transforms behind it still draw anew."""

import cv2
import numpy as np
import pytest
from mmengine.registry import init_default_scope

from rs_mm.datasets import ChangeDetectionDataset
from rs_mm.errors import ConfigError
from rs_mm.registry import TRANSFORMS

LOAD = [dict(type='MultiImgLoadImageFromFile'), dict(type='MultiImgLoadAnnotations')]
REST = [
    dict(type='MultiImgRandomCrop', crop_size=(16, 16), smaller_images='error'),
    dict(type='MultiImgPackSegInputs'),
]


@pytest.fixture
def pairs(tmp_path):
    init_default_scope('rs_mm')
    for folder in ('A', 'B', 'label'):
        (tmp_path / folder).mkdir()
        for name in range(2):
            image = np.random.default_rng(name).integers(0, 2, (32, 32, 3), np.uint8) * 255
            cv2.imwrite(
                str(tmp_path / folder / f'{name}.png'),
                image[..., 0] if folder == 'label' else image,
            )
    return tmp_path


def dataset(root, pipeline):
    prefix = dict(img_path_from='A', img_path_to='B', seg_map_path='label')
    return ChangeDetectionDataset(data_root=str(root), data_prefix=prefix, pipeline=pipeline)


def test_samples_are_those_of_the_transforms(pairs):
    np.random.seed(0)
    plain = [dataset(pairs, LOAD + REST)[i] for i in (0, 1, 0)]
    kept = dataset(pairs, [dict(type='KeepInMemory', transforms=LOAD), *REST])
    np.random.seed(0)
    for i, expected in zip((0, 1, 0), plain):
        sample = kept[i]
        assert (sample['inputs'] == expected['inputs']).all()
        label = sample['data_samples'].gt_sem_seg.data
        assert label.shape == (1, 16, 16)
        assert (label == expected['data_samples'].gt_sem_seg.data).all()
        assert sample['data_samples'].img_path == expected['data_samples'].img_path


def test_files_are_read_once(pairs):
    kept = dataset(pairs, [dict(type='KeepInMemory', transforms=LOAD), *REST])
    for i in (0, 1):
        kept[i]
    for path in pairs.glob('*/*.png'):
        path.unlink()
    assert kept[0]['inputs'].shape == kept[1]['inputs'].shape == (6, 16, 16)


def test_arrays_are_refused():
    step = TRANSFORMS.build(dict(type='rs_mm.KeepInMemory', transforms=LOAD))
    with pytest.raises(ConfigError, match='KeepInMemory is for images in files'):
        step(dict(img_path=[np.zeros((4, 4, 3), np.uint8)] * 2))
