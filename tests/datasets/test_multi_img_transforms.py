"""What the recorded cases don't say: other bands, odd arguments, errors, shared draws."""

import sys
import types

import numpy as np
import pytest
import tifffile

from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.registry import TRANSFORMS


def pair(h=40, w=60, bands=3, dtype=np.uint8):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (h, w, bands)).astype(dtype)
    label = (image[..., 0] > 100).astype(np.uint8)
    return dict(
        img=[image, image.copy()],
        gt_seg_map=label,
        gt_seg_map_from=label.copy(),
        seg_fields=['gt_seg_map', 'gt_seg_map_from'],
        img_path=['a.png', 'b.png'],
    )


def build(name, **kwargs):
    return TRANSFORMS.build(dict(type=name, **kwargs))


@pytest.mark.parametrize(
    'name, kwargs',
    [
        ('MultiImgResize', dict(scale=[30, 20])),
        ('MultiImgRandomResize', dict(scale=(60, 60), ratio_range=(0.5, 2.0), keep_ratio=True)),
        ('MultiImgRandomRotate', dict(prob=1.0, degree=90)),
        ('MultiImgRandomRotFlip', dict()),
        ('MultiImgRandomFlip', dict(prob=0.9, direction=['horizontal', 'vertical', 'diagonal'])),
        ('MultiImgRandomCrop', dict(crop_size=[16, 24], cat_max_ratio=0.75)),
        ('MultiImgPad', dict(size_divisor=32)),
        ('MultiImgPad', dict(size=[80, 70])),
        ('MultiImgRandomCutOut', dict(prob=1.0, n_holes=3, cutout_shape=(6, 9), seg_fill_in=255)),
        ('MultiImgResizeToMultiple', dict(size_divisor=16)),
        ('MultiImgResizeShortestEdge', dict(scale=20, max_size=100)),
    ],
)
@pytest.mark.parametrize('bands', [1, 3, 4, 6, 12])
def test_geometry_is_shared(name, kwargs, bands):
    """Equal dates stay equal, and every label map moves with them, whatever the bands."""
    transform = build(name, **kwargs)
    for seed in range(6):
        np.random.seed(seed)
        out = transform(pair(bands=bands))
        first, second = out['img']
        np.testing.assert_array_equal(first, second)
        assert first.ndim == 3 and first.shape[2] == bands
        assert first.shape[:2] == out['gt_seg_map'].shape == out['gt_seg_map_from'].shape
        np.testing.assert_array_equal(out['gt_seg_map'], out['gt_seg_map_from'])
        assert out['seg_fields'] == ['gt_seg_map', 'gt_seg_map_from']
        repr(transform)


@pytest.mark.parametrize(
    'name, kwargs, corner',
    [
        ('MultiImgRandomRotFlip', dict(rotate_prob=1, degree=(20, 21)), (0, 0)),
        ('MultiImgRandomRotate', dict(prob=1.0, degree=(20, 21)), (0, 0)),
        ('MultiImgPad', dict(size_divisor=64), (-1, -1)),
    ],
)
def test_every_band_is_filled(name, kwargs, corner):
    """By one value each; of a single one the rotations give the rest 0, as the original."""
    for bands in (1, 3, 6):
        values = list(range(7, 7 + bands))
        pad_val = dict(img=values, seg=255) if name == 'MultiImgPad' else values
        out = build(name, pad_val=pad_val, **kwargs)(pair(bands=bands))
        assert out['img'][1][corner].tolist() == values
        assert out['gt_seg_map'][corner] == 255
        out = build(name, pad_val=9, **kwargs)(pair(bands=bands))
        rest = 9 if name == 'MultiImgPad' else 0
        assert out['img'][1][corner].tolist() == [9] + [rest] * (bands - 1)
    pad_val = dict(img=[1, 2]) if name == 'MultiImgPad' else [1, 2]
    with pytest.raises(DataError, match=r'pad_val=\[1, 2\] has 2 entries, .* 3 band'):
        build(name, pad_val=pad_val, **kwargs)(pair())


def test_padding_to_a_square_and_of_fractions():
    out = build('MultiImgPad', pad_to_square=True, pad_val=dict(img=0.5))(
        pair(bands=5, dtype=np.float32)
    )
    assert out['img'][0].shape == (60, 60, 5) and out['img_shape'] == (60, 60)
    assert (out['img'][0][40:] == 0.5).all() and (out['gt_seg_map'][40:] == 255).all()


@pytest.mark.parametrize(
    'name, kwargs, words',
    [
        (
            'MultiImgRandomCutOut',
            dict(prob=1.0, n_holes=1, cutout_shape=(6, 9), fill_in=(0, 0, 0)),
            r'fill_in=\(0, 0, 0\) has 3 entries, but the image has 6',
        ),
        ('MultiImgRGB2Gray', dict(), 'weights=.* has 3 entries, but the images have 6'),
    ],
)
def test_values_per_band_must_fit(name, kwargs, words):
    with pytest.raises(DataError, match=words):
        build(name, **kwargs)(pair(bands=6))


def test_photometry_is_per_date_and_leaves_labels():
    np.random.seed(0)
    before = pair()
    out = build('MultiImgPhotoMetricDistortion')(pair())
    assert (out['img'][0] != out['img'][1]).any()
    np.testing.assert_array_equal(out['gt_seg_map'], before['gt_seg_map'])
    with pytest.raises(DataError, match='needs uint8 images of three bands'):
        build('MultiImgPhotoMetricDistortion')(pair(bands=4))


def test_crop_larger_than_the_image():
    """The original keeps the image; the configs of this project stop instead."""
    kept = build('MultiImgRandomCrop', crop_size=(50, 30))(pair())
    assert kept['img'][0].shape == (40, 30, 3) and kept['gt_seg_map'].shape == (40, 30)
    with pytest.raises(
        DataError,
        match=r'crop_size \(50, 30\) is larger than the image 40 x 60 '
        r'of a.png',
    ):
        build('MultiImgRandomCrop', crop_size=(50, 30), smaller_images='error')(pair())


def test_a_small_image_is_named_once(monkeypatch):
    said = []
    monkeypatch.setattr('mmengine.logging.MMLogger.warning', lambda _, text: said.append(text))
    transform = build('MultiImgRandomCrop', crop_size=(50, 30))
    for _ in range(3):
        transform(pair())
    assert len(said) == 1 and 'larger than the image 40 x 60 of a.png' in said[0]
    build('MultiImgRandomCrop', crop_size=(50, 30), smaller_images='keep')(pair())
    build('MultiImgRandomCrop', crop_size=(40, 30))(pair())
    assert len(said) == 1


def test_crop_balances_the_classes():
    results = pair(64, 64)
    results['gt_seg_map'][:] = 0
    results['gt_seg_map'][:, 32:] = 1
    results['seg_fields'] = ['gt_seg_map']
    transform = build('MultiImgRandomCrop', crop_size=16, cat_max_ratio=0.75)
    np.random.seed(0)
    mixed = [len(np.unique(transform(dict(results))['gt_seg_map'])) == 2 for _ in range(40)]
    plain = build('MultiImgRandomCrop', crop_size=16)
    mixed_plain = [len(np.unique(plain(dict(results))['gt_seg_map'])) == 2 for _ in range(40)]
    assert sum(mixed) > sum(mixed_plain)


def test_exchange_swaps_the_semantic_maps():
    results = pair()
    results['img'][1] = results['img'][1] // 2
    results['gt_seg_map_to'] = results['gt_seg_map_from'] * 0
    out = build('MultiImgExchangeTime', prob=1)(results)
    assert out['img'][0].max() < out['img'][1].max()
    assert out['gt_seg_map_from'].max() == 0 and out['gt_seg_map_to'].max() == 1


def test_rerange_of_a_constant_image():
    results = pair()
    results['img'][1] = np.full_like(results['img'][1], 7)
    out = build('MultiImgRerange')(results)
    assert out['img'][0].max() == 255 and (out['img'][1] == 0).all()


@pytest.mark.parametrize(
    'name, kwargs, word',
    [
        ('MultiImgExchangeTime', dict(prob=2), 'prob'),
        ('MultiImgRandomRotFlip', dict(rotate_prob=-1), 'rotate_prob'),
        ('MultiImgRandomCrop', dict(crop_size=4, smaller_images='pad'), 'smaller_images'),
        ('MultiImgLoadTiff', dict(value_range=(3, 1)), 'value_range'),
    ],
)
def test_bad_arguments(name, kwargs, word):
    with pytest.raises(ConfigError, match=word):
        build(name, **kwargs)


class _Flip:
    """Stands in for an albumentation: turns image and mask around, with a coin."""

    def __init__(self, p, **kwargs):
        self.p = p

    def __call__(self, **targets):
        flip = np.random.rand() < self.p
        return {k: v[:, ::-1] if flip else v for k, v in targets.items()}


class _Compose:
    def __init__(self, transforms, additional_targets=None):
        self.transforms = transforms

    def __call__(self, **targets):
        for transform in self.transforms:
            targets = transform(**targets)
        return targets


def test_albu(monkeypatch):
    """Both dates, RGB, as one image of six bands; labels move with the right key map only."""
    module = types.ModuleType('albumentations')
    module.Compose, module.Flip, module.OneOf = _Compose, _Flip, _Compose
    monkeypatch.setitem(sys.modules, 'albumentations', module)
    flips = [dict(type='OneOf', transforms=[dict(type='Flip', p=1.0)])]
    transform = build('MultiImgAlbu', transforms=flips, keymap=dict(img='image', gt_seg_map='mask'))
    out = transform(pair())
    for date in out['img']:
        np.testing.assert_array_equal(date, pair()['img'][0][:, ::-1])
    np.testing.assert_array_equal(out['gt_seg_map'], pair()['gt_seg_map'][:, ::-1])
    out = build('MultiImgAlbu', transforms=flips)(pair())
    np.testing.assert_array_equal(out['gt_seg_map'], pair()['gt_seg_map'])
    with pytest.raises(ConfigError, match="albumentations has no 'Flap'"):
        build('MultiImgAlbu', transforms=[dict(type='Flap')])
    monkeypatch.setitem(sys.modules, 'albumentations', None)
    with pytest.raises(ConfigError, match='pip install albumentations=='):
        build('MultiImgAlbu', transforms=[])


def test_albu_itself():
    """With the package where it is there: one draw for both dates, and RGB."""
    pytest.importorskip('albumentations')
    transform = build(
        'MultiImgAlbu',
        keymap=dict(img='image', gt_seg_map='mask'),
        transforms=[
            dict(type='HorizontalFlip', p=0.5),
            dict(
                type='OneOf',
                p=1,
                transforms=[dict(type='RandomGamma', p=1), dict(type='VerticalFlip', p=1)],
            ),
        ],
    )
    outs = [transform(pair()) for _ in range(8)]
    for out in outs:
        np.testing.assert_array_equal(*out['img'])
    assert len({out['img'][0].tobytes() for out in outs}) > 1
    normalise = dict(type='Normalize', mean=(0,) * 6, std=(1, 1, 0.5) * 2, max_pixel_value=100)
    for date in build('MultiImgAlbu', transforms=[normalise])(
        dict(img=[np.full((8, 8, 3), 100, np.uint8)] * 2)
    )['img']:
        np.testing.assert_allclose(date[0, 0], (2, 1, 1), rtol=1e-4)  # blue is the third for it


def test_tiff_bands_and_depth(tmp_path):
    image = np.random.default_rng(0).integers(0, 4000, (5, 32, 48)).astype(np.uint16)
    paths = [str(tmp_path / name) for name in ('planes.tif', 'pixels.tif')]
    tifffile.imwrite(paths[0], image, planarconfig='separate', photometric='minisblack')
    tifffile.imwrite(
        paths[1], image.transpose(1, 2, 0), planarconfig='contig', photometric='minisblack'
    )
    out = build('MultiImgLoadTiff', bands=[4, 0, 2])(dict(img_path=paths))
    assert out['ori_shape'] == (32, 48)
    for date in out['img']:
        np.testing.assert_array_equal(date, image[[4, 0, 2]].transpose(1, 2, 0))
        assert date.dtype == np.float32
    out = build('MultiImgLoadTiff', bands=[1], value_range=(1000, 3000))(dict(img_path=paths))
    expected = np.rint(np.clip((image[1] - 1000.0) / 2000, 0, 1) * 255)
    assert out['img'][0].dtype == np.uint8
    assert np.abs(out['img'][0][..., 0] - expected).max() <= 1
    packed = build('MultiImgPackSegInputs')(out)
    assert packed['inputs'].shape == (2, 32, 48)
    with pytest.raises(DataError, match='planes.tif has bands 0 to 4, but band 7'):
        build('MultiImgLoadTiff', bands=[7])(dict(img_path=paths))
    with pytest.raises(MissingFileError, match='none.tif'):
        build('MultiImgLoadTiff')(dict(img_path=[str(tmp_path / 'none.tif')] * 2))


def test_pairs_in_memory():
    images = pair()['img']
    for name, key in (
        ('MultiImgLoadImageFromNDArray', 'img'),
        ('MultiImgLoadImageFromFile', 'img_path'),
    ):
        out = build(name)({key: images})
        assert out['ori_shape'] == (40, 60)
        np.testing.assert_array_equal(out['img'][1], images[1])
        with pytest.raises(DataError, match='date 1 is 40 x 60, date 2 is 39 x 60'):
            build(name)({key: [images[0], images[1][1:]]})


@pytest.mark.parametrize(
    'config',
    [
        dict(type='MultiImgRandomCrop', crop_size=4),
        dict(type='MultiImgRandomFlip', prob=0.5),
        dict(type='MultiImgRandomRotate', prob=0.5, degree=10),
        dict(type='MultiImgRandomResize', scale=(8, 8), ratio_range=(1.0, 1.0)),
    ],
)
def test_a_transform_lasts_longer_than_the_recursion_limit(config):
    transform = TRANSFORMS.build(config)
    image = np.zeros((8, 8, 3), np.uint8)
    for _ in range(sys.getrecursionlimit() + 100):
        transform(
            dict(
                img=[image, image],
                gt_seg_map=image[..., 0],
                seg_fields=['gt_seg_map'],
                img_shape=(8, 8),
            )
        )
