"""Tiles, blending, resuming, writing and polygons."""

import numpy as np
import pytest

rasterio = pytest.importorskip('rasterio', reason='the extra geo is not installed')

from affine import Affine  # noqa: E402
from rasterio.crs import CRS  # noqa: E402
from rasterio.transform import from_origin  # noqa: E402

from rs_mm.errors import ConfigError, DataError  # noqa: E402
from rs_mm.files import check_writable  # noqa: E402
from rs_mm.rasters.areas import pixel_areas  # noqa: E402
from rs_mm.rasters.grid import Grid  # noqa: E402
from rs_mm.rasters.polygon_files import write_polygons  # noqa: E402
from rs_mm.rasters.polygons import PatchCount, regions  # noqa: E402
from rs_mm.rasters.scene import SceneRun  # noqa: E402
from rs_mm.rasters.scratch import Scratch, check_free_space  # noqa: E402
from rs_mm.rasters.tiling import Tiling, spans  # noqa: E402
from rs_mm.rasters.writing import Layer, write_raster  # noqa: E402
from tests.rasters.files import UTM  # noqa: E402

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    'length, tile, overlap',
    [(100, 100, 8), (101, 100, 8), (1000, 128, 16), (129, 64, 0), (193, 64, 62), (3000, 512, 128)],
)
def test_windows_cover_an_axis(length, tile, overlap):
    found = spans(length, tile, overlap)
    assert found[0][0] == 0 and found[-1][1] == length
    assert all(stop - start <= tile for start, stop in found)
    assert all(a[1] - b[0] >= min(overlap, b[1] - b[0]) for a, b in zip(found, found[1:]))
    assert [s for s, _ in found] == sorted({s for s, _ in found})


def run(scene, tmp_path, tile, overlap, batch=1, spoil=None, resume=False, valid=None):
    """Predicts a scene by copying it, plus ``spoil(rows, columns)`` for each tile."""
    valid = np.ones(scene.shape, bool) if valid is None else valid
    calls = []

    def read(rows, columns):
        return (scene[rows, columns], (rows, columns)), valid[rows, columns]

    def predict(inputs):
        calls.append(len(inputs))
        return [tile[None] + (spoil(*at) if spoil else 0) for tile, at in inputs]

    scratch = Scratch(tmp_path / 'scratch', dict(tile=tile), resume)
    made = SceneRun(
        Tiling(*scene.shape, tile, overlap), read, predict, lambda p: dict(p=p[0]), scratch, batch
    )
    made.run()
    return np.concatenate([rows for _, rows in made.strips('p')]), calls, made


@pytest.mark.parametrize(
    'tile, overlap, batch', [(500, 0, 1), (64, 16, 1), (96, 40, 3), (64, 0, 2)]
)
def test_a_scene_from_tiles(tmp_path, tile, overlap, batch):
    scene = RNG.random((150, 217), np.float32)
    found, calls, made = run(scene, tmp_path, tile, overlap, batch)
    np.testing.assert_allclose(found, scene, atol=1e-6)
    assert sum(calls) == len(made.tiling) and max(calls) <= batch
    assert made.valid_pixels == scene.size
    if tile == 500:
        np.testing.assert_array_equal(found, scene)


def test_no_seam_where_tiles_disagree(tmp_path):
    """Tiles that differ by 1 go over into each other without a step."""

    def spoil(rows, columns):
        return np.float32((columns.start // 64) % 2)

    found = run(np.zeros((128, 512), np.float32), tmp_path, 128, 64, spoil=spoil)[0]
    assert found.min() < 0.01 and found.max() > 0.99
    assert np.abs(np.diff(found, axis=1)).max() < 0.04
    hard = run(np.zeros((128, 512), np.float32), tmp_path, 64, 0, spoil=spoil)[0]
    assert np.abs(np.diff(hard, axis=1)).max() == 1


def test_empty_tiles_are_skipped(tmp_path):
    scene, valid = RNG.random((64, 300), np.float32), np.ones((64, 300), bool)
    valid[:, 70:210] = False
    found, calls, made = run(scene, tmp_path, 64, 16, valid=valid)
    np.testing.assert_array_equal(np.isnan(found), ~valid)
    np.testing.assert_allclose(found[valid], scene[valid], atol=1e-6)
    assert sum(calls) < len(made.tiling) and made.valid_pixels == valid.sum()
    with pytest.raises(DataError, match='no pixel holds data'):
        run(scene, tmp_path, 64, 16, valid=np.zeros_like(valid))


@pytest.mark.parametrize('stop', [1, 4, 9])
def test_resume_repeats_one_tile_at_most(tmp_path, stop):
    scene = RNG.random((150, 217), np.float32)
    whole, calls, _ = run(scene, tmp_path / 'whole', 64, 16)
    left = iter(range(stop))

    def ends(rows, columns):
        if next(left, None) is None:
            raise KeyboardInterrupt
        return 0

    with pytest.raises(KeyboardInterrupt):
        run(scene, tmp_path, 64, 16, spoil=ends)
    found, again, _ = run(scene, tmp_path, 64, 16, resume=True)
    np.testing.assert_array_equal(found, whole)
    assert len(again) == len(calls) - stop
    with pytest.raises(ConfigError, match='--resume: .* another `tile`'):
        run(scene, tmp_path, 96, 16, resume=True)


@pytest.mark.parametrize('driver', ['GTiff', 'COG', 'PNG'])
def test_written_rasters(tmp_path, driver):
    array = RNG.integers(0, 3, (1100, 700)).astype(np.uint8)
    array[:9] = 255
    path = tmp_path / ('a.png' if driver == 'PNG' else 'a.tif')
    layer = Layer(
        'uint8', 255, 'change', {0: (0, 0, 0), 1: (9, 8, 7)}, {0: 'same'}, tags=dict(MODEL='m')
    )
    strips = [(0, array[:300]), (300, array[300:])]
    write_raster(
        path, Grid(*array.shape, UTM['transform'], CRS.from_epsg(32650)), strips, layer, driver
    )
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), array)
        assert file.nodata == 255
        if driver != 'PNG':
            assert file.overviews(1) and file.compression.name == 'deflate'
            assert file.crs.to_epsg() == 32650 and file.transform == UTM['transform']
            assert file.descriptions == ('change',) and file.tags()['MODEL'] == 'm'
            assert file.tags(1)['class_0'] == 'same' and file.colormap(1)[1][:3] == (9, 8, 7)
        if driver == 'COG':
            assert file.tags(ns='IMAGE_STRUCTURE')['LAYOUT'] == 'COG'
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_full_disk(tmp_path):
    """A limit on file sizes is to a writer what a full disk is."""
    import resource

    array = RNG.integers(0, 255, (700, 700)).astype(np.uint8)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(DataError, match=r'a.tif cannot be written: the disk is full'):
            write_raster(tmp_path / 'a.tif', Grid(700, 700), [(0, array)], Layer('uint8'))
        with pytest.raises(DataError, match='cannot be written'):
            Scratch(tmp_path / 's', {}).save('x', array)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.glob('*.tif')) and not list(tmp_path.glob('.a*'))
    assert not list(tmp_path.glob('s/*.npy'))
    with pytest.raises(DataError, match='but only .* GB are free'):
        check_free_space(tmp_path / 'new', 10**18, 'a map')
    (tmp_path / 'file').touch()
    with pytest.raises(ConfigError, match='is a file'):
        check_writable(tmp_path / 'file' / 'below')


def test_polygons_are_those_of_the_whole(tmp_path):
    """Strips of any height give the patches and areas of one strip."""
    labels = (RNG.random((90, 70)) < 0.45).astype(np.uint8)
    labels[20:60, 30:40] = 2
    values = RNG.random(labels.shape, np.float32)
    grid = Grid(90, 70, UTM['transform'], CRS.from_epsg(32650))

    def found(height):
        cuts = range(0, 90, height)
        strips = [(y, labels[y : y + height], values[y : y + height]) for y in cuts]
        return list(regions(grid, strips, (1, 2)))

    whole = found(90)
    assert sum(r.pixels for r in whole) == (labels > 0).sum()
    assert all(r.area_m2 == r.pixels * 100 for r in whole)
    assert all(abs(r.geometry.area - r.area_m2) < 1e-6 and r.geometry.is_valid for r in whole)
    largest = next(r for r in whole if r.class_index == 2)
    assert largest.pixels == 400 and largest.mean == pytest.approx(values[labels == 2].mean())
    for height in (1, 7, 50):
        pieces = found(height)
        assert sorted((r.class_index, r.pixels, round(r.mean, 5)) for r in pieces) == sorted(
            (r.class_index, r.pixels, round(r.mean, 5)) for r in whole
        )
        same = {r.geometry.normalize().wkt for r in whole}
        assert sum(r.geometry.normalize().wkt in same for r in pieces) == len(whole)
    assert {r.class_index for r in regions(grid, [(0, labels, None)], (1, 2), 39000)} == {2}


@pytest.mark.parametrize('suffix', ['.gpkg', '.geojson', '.parquet'])
def test_written_polygons(tmp_path, suffix):
    geopandas = pytest.importorskip('geopandas')
    labels = np.zeros((40, 50), np.uint8)
    labels[5:15, 5:25] = labels[30:, 40:] = 1
    grid = Grid(40, 50, UTM['transform'], CRS.from_epsg(32650))
    path = tmp_path / f'a{suffix}'
    for kept in (list(regions(grid, [(0, labels, labels / 2)], [1])), []):
        write_polygons(path, kept, grid, {1: 'changed'})
        table = geopandas.read_parquet(path) if suffix == '.parquet' else geopandas.read_file(path)
        assert len(table) == len(kept)
        assert table.crs.to_epsg() == (4326 if suffix == '.geojson' else 32650) or not kept
        if kept:
            assert table['area_m2'].tolist() == [20000, 10000]
            assert table['mean_probability'].tolist() == [0.5, 0.5]
            assert table['name'].tolist() == ['changed'] * 2
            np.testing.assert_allclose(table.to_crs(32650).area, table['area_m2'], rtol=1e-4)
            assert table.geom_type.tolist() == ['Polygon'] * 2
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with pytest.raises(ConfigError, match='.gpkg'):
        write_polygons(tmp_path / 'a.shp', [], grid, {})


@pytest.mark.parametrize('suffix', ['.gpkg', '.geojson', '.parquet'])
def test_any_number_of_polygons(tmp_path, suffix, monkeypatch):
    """They are written as they come; no more than a batch is held."""
    geopandas = pytest.importorskip('geopandas')
    monkeypatch.setattr('rs_mm.rasters.polygon_files._BATCH', 50)
    labels = np.zeros((60, 40), np.uint8)
    labels[::2, ::2] = 1
    labels[41:44, 11:16] = 1  # joins six of them
    held, passed = set(), []

    def strips():
        for row in range(0, 60, 4):
            yield row, labels[row : row + 4], None

    def watched(found):
        for region in found:
            held.add(id(region))
            passed.append(region.pixels)
            yield region

    patches = PatchCount(2)
    grid = Grid(60, 40, UTM['transform'], CRS.from_epsg(32650))
    path = tmp_path / f'a{suffix}'
    write_polygons(path, watched(patches(regions(grid, strips(), [1]))), grid, {1: 'changed'})
    table = geopandas.read_parquet(path) if suffix == '.parquet' else geopandas.read_file(path)
    assert len(table) == patches.count == len(passed) and table.pixels.sum() == labels.sum()
    assert table.geometry.is_valid.all() and table.crs.to_epsg() == (
        4326 if suffix == '.geojson' else 32650
    )
    assert [r.pixels for r in patches.largest] == sorted(passed)[:-3:-1]
    np.testing.assert_allclose(table.to_crs(32650).area, table['area_m2'], rtol=1e-3)
    assert len(held) < len(passed)  # places in memory are used again


def test_pixel_areas():
    """A degree at the equator and at 60 degrees north; feet; web Mercator."""
    degrees = Grid(2, 2, from_origin(0, 1, 1, 1), CRS.from_epsg(4326))
    assert pixel_areas(degrees)[0] == pytest.approx(12308.8e6, rel=1e-4)
    feet = Grid(2, 2, from_origin(0, 0, 10, 10), CRS.from_epsg(2225))
    assert pixel_areas(feet)[0] == pytest.approx(100 * 0.3048006096**2, rel=1e-6)
    mercator = Grid(1, 1, from_origin(0, 8399737.9, 10, 10), CRS.from_epsg(3857))
    assert pixel_areas(mercator)[0] == pytest.approx(100 / 4, rel=0.01)
    assert pixel_areas(Grid(2, 2)) is None
    turned = Grid(3, 3, UTM['transform'] @ Affine.rotation(30), CRS.from_epsg(32650))
    assert pixel_areas(turned)[0] == pytest.approx(100)
