"""Predicting pairs in memory and from files, without labels."""

import numpy as np
import pytest
import tifffile
import torch
from mmengine.config import Config

from rs_mm.apis.change import ChangeDetector, _tiles, to_rgb
from rs_mm.apis.change_files import predict_files
from rs_mm.datasets.raster import GEO_TAGS
from rs_mm.errors import CheckpointError, ConfigError, DataError
from tests.toy_change import toy_model_config

TEST_PIPELINE = [
    dict(type='MultiImgLoadImageFromFile'),
    dict(type='MultiImgResize', scale=(32, 32), keep_ratio=True),
    dict(type='MultiImgLoadAnnotations'),
    dict(type='MultiImgPackSegInputs'),
]


def config():
    return Config(
        dict(
            default_scope='rs_mm',
            model=toy_model_config(),
            test_dataloader=dict(dataset=dict(pipeline=TEST_PIPELINE)),
        )
    )


def detector(**kwargs):
    torch.manual_seed(0)
    return ChangeDetector(config(), device='cpu', **kwargs)


def images(h, w, bands=3, dtype=np.uint8, high=255):
    rng = np.random.default_rng(h)
    return [rng.integers(0, high, (h, w, bands)).astype(dtype) for _ in range(2)]


def test_any_size_from_arrays():
    for h, w in ((50, 70), (33, 20)):
        found = detector()(*images(h, w))
        assert found.mask.shape == found.probability.shape == (h, w)
        assert found.mask.dtype == np.uint8 and found.probability.dtype == np.float32
        np.testing.assert_array_equal(found.mask == 1, found.probability > 0.5)


def test_arrays_are_rgb_and_equal_files(tmp_path):
    pair = images(40, 40)
    for path, image in zip('ab', pair):
        tifffile.imwrite(tmp_path / f'{path}.tif', image, photometric='rgb')
    from_files = detector()(tmp_path / 'a.tif', tmp_path / 'b.tif')
    np.testing.assert_array_equal(detector()(*pair).probability, from_files.probability)
    swapped = detector()(*[image[..., ::-1] for image in pair])
    assert (swapped.probability != from_files.probability).any()


def test_tiles_equal_the_whole():
    """One convolution sees one pixel around: a margin of 2 hides the tiles."""
    pair = images(150, 90)
    whole = detector()(*pair)
    tiled = detector(tile=64, margin=2)(*pair)
    np.testing.assert_allclose(tiled.probability, whole.probability, atol=1e-6)
    np.testing.assert_array_equal(tiled.mask, whole.mask)
    with pytest.raises(ConfigError, match='tile'):
        detector(tile=64, margin=32)


@pytest.mark.parametrize(
    'length, tile, margin',
    [(100, 100, 8), (101, 100, 8), (1000, 128, 16), (129, 64, 0), (193, 64, 31)],
)
def test_tiles_cover_an_axis_once(length, tile, margin):
    kept = []
    for (start, end), (first, last) in _tiles(length, tile, margin):
        assert 0 <= start <= first < last <= end <= length and end - start <= tile
        assert first - start >= margin or start == 0
        assert end - last >= margin or end == length
        kept += range(first, last)
    assert kept == list(range(length))


def test_resize_as_the_test_pipeline_does():
    pair = images(64, 48)
    assert detector(resize=True)(*pair).mask.shape == (64, 48)
    assert (detector(resize=True)(*pair).probability != detector()(*pair).probability).any()


def test_bands_and_depth():
    pair = images(40, 50, bands=5, dtype=np.uint16, high=4000)
    rgb = to_rgb(pair, bands=(4, 2, 0))
    assert all(image.dtype == np.uint8 and image.shape == (40, 50, 3) for image in rgb)
    low, high = np.percentile(np.stack(pair)[..., 2], (2, 98))
    expected = np.clip((pair[0][..., 2] - low) / (high - low), 0, 1) * 255
    assert np.abs(rgb[0][..., 1] - expected).max() <= 1
    fixed = to_rgb(pair, bands=(0, 0, 0), value_range=(0, 4000))
    assert np.abs(fixed[1][..., 0] - pair[1][..., 0] / 4000 * 255).max() <= 1
    grey = to_rgb([image[..., 0].astype(np.uint8) for image in pair])
    assert grey[0].shape == (40, 50, 3)


def test_options_of_a_loaded_config():
    given = config()
    options = ['model.data_preprocessor.size_divisor=64']
    found = ChangeDetector(given, device='cpu', options=options)
    assert found.model.data_preprocessor.size_divisor == 64
    assert given.model.data_preprocessor.size_divisor == 32
    with pytest.raises(ConfigError, match='no key `nonsense`'):
        ChangeDetector(given, device='cpu', options=['nonsense.key=3'])


def test_bad_input(tmp_path):
    first, second = images(40, 50)
    with pytest.raises(DataError, match='date 1 has 40 x 50 .* date 2 has 39 x 50.*--align crop'):
        detector()(first, second[1:])
    for empty in ((5, 5), (200, 100)):
        with pytest.raises(ConfigError, match='value_range must be .* low < high'):
            detector()(first, second, value_range=empty)
    with pytest.raises(ConfigError, match=r'change\.tif must be a folder'):
        predict_files(None, 'a.tif', 'b.tif', tmp_path / 'change.tif')
    with pytest.raises(DataError, match='date 1 has bands 0 to 2, but band 3'):
        detector()(first, second, bands=(3, 2, 1))
    torch.save(dict(state_dict={'other': torch.zeros(1)}), tmp_path / 'x.pth')
    with pytest.raises(CheckpointError, match='is of another model: 0 of its 1 weights'):
        detector(checkpoint=tmp_path / 'x.pth')


@pytest.mark.parametrize('device', ['foo', 'cuda:99', 'meta:x'])
def test_a_device_that_is_not_there(device):
    with pytest.raises(ConfigError, match=f"device '{device}' is not there; this machine has cpu"):
        ChangeDetector(config(), device=device)


@pytest.mark.parametrize(
    'folder, files',
    [
        ('naip', ('m_4709963_se_14_1_20090818.tif', 'm_4709963_se_14_1_20180716.tif')),
        ('landsat', ('1985.tif', '2020.tif')),
    ],
)
def test_real_geotiffs(samples, tmp_path, folder, files):
    paths = [samples / folder / file for file in files]
    written = predict_files(detector(), *paths, tmp_path)
    with tifffile.TiffFile(written[0]) as out, tifffile.TiffFile(paths[0]) as first:
        assert out.pages[0].shape == first.pages[0].shape[:2]
        kept = [tag for tag in first.pages[0].tags if tag.code in GEO_TAGS]
        assert len(kept) >= 2
        assert all(out.pages[0].tags[tag.code].value == tag.value for tag in kept)
