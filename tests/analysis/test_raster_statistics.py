"""Figures per band, and the lines of a config that they give."""

import numpy as np
import pytest

pytest.importorskip('rasterio', reason='the extra geo is not installed')

from rs_mm.analysis import raster_statistics  # noqa: E402
from rs_mm.analysis.raster_statistics import (  # noqa: E402
    as_json,
    band_statistics,
    config_lines,
    format_statistics,
    image_files,
)
from rs_mm.errors import DataError  # noqa: E402
from rs_mm.rasters import stretch  # noqa: E402
from tests.rasters.files import UTM, write  # noqa: E402

RNG = np.random.default_rng(0)


def files(tmp_path, dtype='f4', **profile):
    arrays = [(RNG.normal(1e5, 30, (60, 70, 4)) * [1, 2, 3, 0.01]).astype(dtype) for _ in range(3)]
    for i, array in enumerate(arrays):
        array[: 10 * i] = profile.get('nodata', 1)
        write(tmp_path / f'{i}.tif', array, **UTM, **profile)
    return np.concatenate([array[10 * i :].reshape(-1, 4) for i, array in enumerate(arrays)])


def test_figures_are_those_of_the_pixels_with_data(tmp_path):
    values = files(tmp_path, nodata=-9999).astype(np.float64)
    found = band_statistics(image_files([tmp_path]))
    assert (found.files, found.pixels, found.dtype) == (3, len(values), 'float32')
    assert found.valid_share == pytest.approx(len(values) / (3 * 60 * 70))
    np.testing.assert_allclose(found.mean, values.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(found.std, values.std(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.percentiles[2], np.percentile(values, 2, axis=0), rtol=1e-4)
    assert 'MultiImgLoadTiff' in config_lines(found) and 'backbone_inchannels' in config_lines(
        found
    )
    assert '90.' in format_statistics(found).splitlines()[0].replace('83.3', '90.')
    assert as_json(found)['percentiles']['2']


def test_large_files_are_read_reduced(tmp_path, monkeypatch):
    values = files(tmp_path, nodata=-9999)
    monkeypatch.setattr(raster_statistics, '_PIXELS', 900)
    found = band_statistics(image_files([tmp_path]))
    assert found.pixels < 3000
    np.testing.assert_allclose(found.mean, values.mean(axis=0), rtol=1e-3)


def test_a_range_of_values(tmp_path):
    write(tmp_path / 'a.tif', RNG.integers(0, 4000, (50, 60, 3)).astype('u2'))
    array = stretch(np.zeros((1, 1, 3)), 0, 1)
    found = band_statistics([tmp_path / 'a.tif'], value_range=(0, 2000))
    assert found.high == [255] * 3 and found.dtype == str(array.dtype)
    text = config_lines(found, (0, 2000))
    assert 'value_range=(0, 2000)' in text and 'bgr_to_rgb=False' in text
    made = {}
    exec(text, made)
    assert len(made['model']['data_preprocessor']['mean']) == 6


def test_what_cannot_be_read_is_listed(tmp_path):
    write(tmp_path / 'a.tif', RNG.integers(0, 255, (50, 60, 3)).astype('u1'))
    (tmp_path / 'b.tif').write_text('no image')
    found = band_statistics(image_files([tmp_path]))
    assert found.files == 1 and 'b.tif' in found.failed[0][0]
    assert 'NOT READ' in format_statistics(found) and 'bgr_to_rgb=True' in config_lines(found)
    write(tmp_path / 'c.tif', RNG.integers(0, 255, (50, 60, 4)).astype('u1'))
    with pytest.raises(DataError, match='c.tif has 4 bands, but the files before it 3'):
        band_statistics(image_files([tmp_path]))
    with pytest.raises(DataError, match='nowhere does not exist'):
        image_files([tmp_path / 'nowhere'])
