"""The fast transforms of pairs against the plain ways they replace: every bit, every draw."""

import cv2
import numpy as np
import pytest
import torch
from mmseg.datasets import transforms as single

from rs_mm.registry import TRANSFORMS


def images(count=2, height=64, width=48, bands=3, dtype=np.uint8):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, bands)).astype(dtype) for _ in range(count)]


def build(name, **kwargs):
    return TRANSFORMS.build(dict(type=name, **kwargs))


def every_colour():
    """All levels of every band, and all corners of the cube."""
    levels = np.arange(0, 256, 5, np.uint8)
    return np.stack(np.meshgrid(levels, levels, levels), 3).reshape(-1, 52, 3)


@pytest.mark.parametrize(
    'arguments',
    [
        dict(
            brightness_delta=10,
            contrast_range=(0.8, 1.2),
            saturation_range=(0.8, 1.2),
            hue_delta=10,
        ),
        dict(
            brightness_delta=200, contrast_range=(0.1, 9.0), saturation_range=(0, 9), hue_delta=179
        ),
    ],
)
def test_photometry_is_mmsegs(arguments):
    plain = single.PhotoMetricDistortion(**arguments)
    fast = build('MultiImgPhotoMetricDistortion', **arguments)
    image = every_colour()
    for seed in range(60):
        np.random.seed(seed)
        expected = [plain(dict(img=image))['img'] for _ in range(2)]
        after = np.random.random()
        np.random.seed(seed)
        found = fast(dict(img=[image, image]))['img']
        assert np.random.random() == after
        np.testing.assert_array_equal(found, expected)


def plain_rotflip(results, degree=20):
    rotate = np.random.random() < 0.5
    angle = np.random.uniform(-degree, degree) if rotate else None
    if np.random.random() < 0.5 and not rotate:
        turns, axis = np.random.randint(0, 4), np.random.randint(0, 2)
        return [np.flip(np.rot90(array, turns), axis) for array in results]
    if not rotate:
        return results
    height, width = results[0].shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -angle, 1)
    return [
        cv2.warpAffine(array, matrix, (width, height), flags=flag, borderValue=value).reshape(
            array.shape
        )
        for array, flag, value in zip(
            results, (cv2.INTER_LINEAR, cv2.INTER_LINEAR, cv2.INTER_NEAREST), (0, 0, 255)
        )
    ]


@pytest.mark.parametrize(
    'bands, dtype', [(3, np.uint8), (1, np.uint8), (4, np.float32), (6, np.uint8), (3, np.uint16)]
)
def test_turning(bands, dtype):
    dates = images(bands=bands, dtype=dtype)
    label = dates[0][..., 0].astype(np.uint8)
    for seed in range(80):
        if bands > 4:  # OpenCV rotates four bands at most
            rotate_prob, plain = 0, lambda arrays: plain_rotflip_turning(arrays)
        else:
            rotate_prob, plain = 0.5, plain_rotflip
        np.random.seed(seed)
        expected = plain([*dates, label])
        after = np.random.random()
        np.random.seed(seed)
        out = build('MultiImgRandomRotFlip', rotate_prob=rotate_prob)(
            dict(img=dates, gt_seg_map=label, seg_fields=['gt_seg_map'])
        )
        assert np.random.random() == after
        for found, array in zip([*out['img'], out['gt_seg_map']], expected):
            np.testing.assert_array_equal(found, array)
            assert found.dtype == array.dtype and found.flags.c_contiguous


def plain_rotflip_turning(arrays):
    np.random.random()
    if np.random.random() >= 0.5:
        return arrays
    turns, axis = np.random.randint(0, 4), np.random.randint(0, 2)
    return [np.flip(np.rot90(array, turns), axis) for array in arrays]


@pytest.mark.parametrize('dtype', [np.uint8, np.int64])
@pytest.mark.parametrize(
    'classes, ignored, ratio',
    [(2, 0, 0.75), (2, 0.3, 0.6), (7, 0.1, 0.3), (2, 1, 0.75), (1, 0.5, 0.75)],
)
def test_the_crop_is_mmsegs(dtype, classes, ignored, ratio):
    rng = np.random.default_rng(1)
    label = np.sort(rng.integers(0, classes, (64, 48)), 0).astype(dtype)
    label[rng.random(label.shape) < ignored] = 255
    dates = images()
    plain = single.RandomCrop((24, 16), ratio)
    fast = build('MultiImgRandomCrop', crop_size=(24, 16), cat_max_ratio=ratio)
    for seed in range(40):
        np.random.seed(seed)
        expected = plain(dict(img=dates[0], gt_seg_map=label, seg_fields=['gt_seg_map']))
        after = np.random.random()
        np.random.seed(seed)
        found = fast(dict(img=dates, gt_seg_map=label, seg_fields=['gt_seg_map']))
        assert np.random.random() == after
        np.testing.assert_array_equal(found['img'][0], expected['img'])
        np.testing.assert_array_equal(found['gt_seg_map'], expected['gt_seg_map'])


@pytest.mark.parametrize('dtypes', [(np.uint8,) * 2, (np.float32,) * 2, (np.uint8, np.float32)])
@pytest.mark.parametrize('bands', [1, 3, 12])
def test_packing(dtypes, bands):
    dates = [image.astype(dtype) for image, dtype in zip(images(bands=bands), dtypes)]
    # a cut-out, as the crop leaves it, and one that is turned
    dates = [dates[0][8:40, 3:33], np.flip(dates[1], (0, 1))[8:40, 3:33]]
    inputs = build('MultiImgPackSegInputs')(dict(img=dates))['inputs']
    expected = torch.from_numpy(np.concatenate(dates, 2).transpose(2, 0, 1).copy())
    assert inputs.dtype == expected.dtype and torch.equal(inputs, expected)
    assert inputs.is_contiguous()
    assert not np.shares_memory(inputs.numpy(), dates[0])
