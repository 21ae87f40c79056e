"""Scenes of an archive are cut into tiles, by pixels or by metres, without those without data."""

import numpy as np
import pytest
from PIL import Image

from rs_mm.datasets import SceneArchive
from rs_mm.errors import ConfigError
from rs_mm.rasters import TileSize, Window, cut, footprint

PIPELINE = [dict(type='LoadRGBImage'), dict(type='PackEmbeddingInputs')]


def write(path, pixels, metres=2, **more):
    rasterio = pytest.importorskip('rasterio')
    from rasterio.transform import from_origin

    count, height, width = pixels.shape
    place = dict(crs='EPSG:32650', transform=from_origin(5e5, 4e6, metres, metres))
    shape = dict(driver='GTiff', count=count, height=height, width=width)
    with rasterio.open(path, 'w', dtype=pixels.dtype, **shape, **place, **more) as file:
        file.write(pixels)


def test_windows_cover_a_scene_and_end_at_its_border():
    assert cut((10, 25), 10, 10) == [(0, 0, 10, 10), (0, 10, 10, 10), (0, 15, 10, 10)]
    assert cut((4, 4), 10, 5) == [(0, 0, 4, 4)]
    seen = np.zeros((37, 53))
    for window in cut(seen.shape, 16, 12):
        assert (window.height, window.width) == (16, 16)
        seen[window.slices] += 1
    assert seen.min() == 1


def test_sizes_are_pixels_or_metres():
    assert TileSize.parse(256) == TileSize(256, 256, False)
    assert TileSize.parse('150m', '75.5m') == TileSize(150, 75.5, True)
    for wrong in (('150m', 75), ('0', None), ('12.5', None), ('-3', None), ('a', None)):
        with pytest.raises(ConfigError, match='tile|stride'):
            TileSize.parse(*wrong)


def test_a_footprint_is_on_the_ground():
    rasterio = pytest.importorskip('rasterio')
    place = rasterio.transform.from_origin(500000, 4000000, 2, 2)
    corners = footprint(place, rasterio.CRS.from_epsg(32650), Window(10, 20, 5, 6))
    back = rasterio.warp.transform('EPSG:4326', 'EPSG:32650', *zip(*corners))
    wanted = [(500040, 3999980), (500052, 3999980), (500052, 3999970), (500040, 3999970)]
    np.testing.assert_allclose(list(zip(*back)), wanted, atol=1e-3)
    assert footprint(None, None, Window(0, 0, 1, 1)) is None


def test_scenes_become_tiles(tmp_path):
    rng = np.random.default_rng(0)
    scene = rng.integers(1, 3000, (4, 64, 96), dtype=np.uint16)
    scene[:, :, :48] = 0
    write(tmp_path / 'b.tif', scene, nodata=0)
    Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)).save(tmp_path / 'a.png')
    (tmp_path / 'c.tif').write_bytes(b'II*\0')
    archive = SceneArchive(str(tmp_path), '64m', '32m', pipeline=PIPELINE)
    infos = [archive.get_data_info(i) for i in range(len(archive))]
    assert [info['name'] for info in infos] == ['a.png'] + 9 * ['b.tif'] + ['c.tif']
    # the tiles from column 32 on are half data at least
    assert sorted({info['window'][0] for info in infos[1:-1]}) == [32, 48, 64]
    samples = [archive[i] for i in range(len(archive))]
    assert samples[0]['inputs'].shape == (3, 20, 30)
    assert 'c.tif' in samples[-1]['data_samples'].unreadable
    # one stretch for the scene: a tile is a part of it
    low, high = np.percentile(scene[:3, :, 48:], (2, 98), axis=(1, 2))
    whole = np.clip((scene[:3] - low[:, None, None]) / (high - low)[:, None, None], 0, 1) * 255
    for info, sample in list(zip(infos, samples))[1:-1:5]:
        x, y, width, height = info['window']
        tile = whole[:, y : y + height, x : x + width]
        assert np.abs(sample['inputs'].numpy() - tile).max() <= 1
    assert len(set(archive.files())) == 3
