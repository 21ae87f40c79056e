import cv2
import numpy as np
import pytest
import tifffile
import torch

from rs_mm.datasets.transforms import (
    LoadBandImage,
    NormalizeBands,
    PackEmbeddingInputs,
    ResizeBands,
)
from rs_mm.errors import ConfigError, DataError, MissingFileError


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize('bands', [1, 3, 4, 10, 13])
@pytest.mark.parametrize('planar', ['contig', 'separate'])
def test_tiff_of_any_depth_and_number_of_bands(tmp_path, dtype, bands, planar):
    img = (np.random.rand(7, 9, bands) * 100).astype(dtype)
    stored = img if planar == 'contig' else img.transpose(2, 0, 1)
    layout = dict(planarconfig=planar) if bands > 1 else {}
    tifffile.imwrite(tmp_path / 'a.tif', stored.squeeze(), photometric='minisblack', **layout)
    loaded = LoadBandImage()(dict(img_path=str(tmp_path / 'a.tif')))['img']
    assert loaded.dtype == dtype and np.array_equal(loaded, img)
    resized = ResizeBands((14, 5))(dict(img=loaded))['img']
    assert resized.shape == (14, 5, bands) and resized.dtype == dtype


@pytest.mark.parametrize(
    'shape, dtype',
    [((5, 6, 3), np.uint8), ((5, 6), np.uint8), ((5, 6, 4), np.uint8), ((5, 6, 3), np.uint16)],
)
def test_png_comes_in_file_order(tmp_path, shape, dtype):
    img = (np.random.rand(*shape) * 200 + 1).astype(dtype)
    bgr = img if img.ndim == 2 else img[..., [2, 1, 0, 3][: shape[2]]]
    cv2.imwrite(str(tmp_path / 'a.png'), bgr)
    named = dict(bands=[0, 1, 2, 3]) if shape[2:] == (4,) else {}  # else alpha is no band
    loaded = LoadBandImage(**named)(dict(img_path=str(tmp_path / 'a.png')))['img']
    assert loaded.dtype == dtype and np.array_equal(loaded, np.atleast_3d(img))
    three = LoadBandImage(num_bands=3)(dict(img_path=str(tmp_path / 'a.png')))['img']
    assert three.shape == (5, 6, 3) and np.array_equal(three[..., 0], np.atleast_3d(img)[..., 0])


def test_area_resize_of_many_bands_is_band_by_band():
    img = np.random.rand(20, 30, 11).astype(np.float32)
    together = ResizeBands(10)(dict(img=img))['img']
    for band in range(11):
        alone = ResizeBands(10)(dict(img=img[..., band : band + 1]))['img']
        assert np.allclose(together[..., band], alone[..., 0], atol=1e-6)
    assert np.allclose(
        ResizeBands((10, 15))(dict(img=img))['img'],
        img.reshape(10, 2, 15, 2, 11).mean((1, 3)),
        atol=1e-6,
    )


def test_real_thirteen_band_tiff(samples):
    img = LoadBandImage()(dict(img_path=str(samples / 'eurosat_ms/SeaLake/SeaLake_3000.tif')))
    assert img['img'].shape == (64, 64, 13)
    chosen = LoadBandImage(bands=[3, 2, 1])(dict(img_path=img['img_path']))['img']
    assert np.array_equal(chosen, img['img'][..., [3, 2, 1]])


def test_pack_without_label_and_from_gray():
    packed = PackEmbeddingInputs()(dict(img=np.zeros((4, 5), np.uint16), name='x', sample_idx=3))
    assert packed['inputs'].shape == (1, 4, 5) and 'gt_label' not in packed['data_samples']
    assert packed['data_samples'].sample_idx == 3
    packed = PackEmbeddingInputs()(dict(img=torch.ones(2, 4, 5), gt_label=[0, 1]))
    assert packed['inputs'].shape == (2, 4, 5)
    assert packed['data_samples'].gt_label.tolist() == [0, 1]


def test_bad_images(tmp_path):
    with pytest.raises(MissingFileError, match='no such image'):
        LoadBandImage()(dict(img_path=str(tmp_path / 'a.png')))
    (tmp_path / 'a.png').write_bytes(b'no image')
    with pytest.raises(DataError, match='a.png: .*(cannot be decoded|GDAL cannot read this image)'):
        LoadBandImage()(dict(img_path=str(tmp_path / 'a.png')))
    tifffile.imwrite(
        tmp_path / 'a.tif',
        np.zeros((40, 40, 5), np.uint8),
        planarconfig='contig',
        photometric='minisblack',
    )
    with pytest.raises(DataError, match='has 5 bands, the config wants 3'):
        LoadBandImage(num_bands=3)(dict(img_path=str(tmp_path / 'a.tif')))
    with pytest.raises(DataError, match='has bands 0 to 4, but band 5 was asked for'):
        LoadBandImage(bands=[5])(dict(img_path=str(tmp_path / 'a.tif')))
    data = (tmp_path / 'a.tif').read_bytes()
    (tmp_path / 'a.tif').write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match='a.tif: the TIFF cannot be decoded'):
        LoadBandImage()(dict(img_path=str(tmp_path / 'a.tif')))
    with pytest.raises(DataError, match='has 4 bands, but NormalizeBands has statistics of 3'):
        NormalizeBands([0] * 3, [1] * 3)(dict(img=np.zeros((2, 2, 4))))
    with pytest.raises(ConfigError, match="interpolation 'cubic'"):
        ResizeBands(8, 'cubic')


def test_a_band_is_not_dropped_without_a_word(tmp_path):
    path = tmp_path / 'nir.tif'
    tifffile.imwrite(path, np.zeros((8, 8, 4), np.uint8), photometric='rgb', extrasamples=[0])
    with pytest.raises(DataError, match='nir.tif: has 4 bands, the config wants 3'):
        LoadBandImage(num_bands=3)(dict(img_path=str(path)))
