"""Few-shot segmentation of scenes: tiles at the supports' resolution, maps on the ground."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip('rasterio')
geopandas = pytest.importorskip('geopandas')

import rasterio  # noqa: E402
from rasterio.transform import from_origin  # noqa: E402
from shapely.geometry import box  # noqa: E402

from rs_mm.apis import FewShotSegmenter  # noqa: E402
from rs_mm.apis.few_shot.scenes import TilePlan  # noqa: E402
from rs_mm.apis.few_shot.supports import Supports  # noqa: E402
from rs_mm.errors import ConfigError, DataError  # noqa: E402
from rs_mm.rasters import Grid  # noqa: E402
from tools import predict_fewshot  # noqa: E402

from .test_few_shot_segmenter import ROOT, config, small  # noqa: E402

RNG = np.random.default_rng(3)
SCENE = RNG.integers(1, 256, (3, 80, 80), dtype=np.uint8)
SCENE[:, :48, :48] = 0  # no data


def write(path, pixels, metres, **more):
    profile = dict(driver='GTiff', count=len(pixels), dtype=pixels.dtype.name, crs='EPSG:32650')
    place = dict(transform=from_origin(5e5, 4e6, metres, metres), **more)
    height, width = pixels.shape[1:]
    with rasterio.open(path, 'w', **profile, **place, height=height, width=width) as file:
        file.write(pixels)
    return path


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('scenes')
    write(folder / 'scene.tif', SCENE, 2, nodata=0)
    write(folder / 'support.tif', SCENE[:, 32:80, 30:78], 2)
    return folder


@pytest.fixture(scope='module')
def segmenter(folder):
    mask = np.zeros((48, 48), bool)
    mask[10:30, 10:35] = True
    return FewShotSegmenter(config(), options=small(48)).fit(folder / 'support.tif', mask)


def supports(size, metres):
    return Supports(None, None, ['a'], [size], [metres])


def test_tiles_show_as_much_ground_as_a_support(folder):
    grid = Grid(400, 300, from_origin(5e5, 4e6, 2, 2), rasterio.CRS.from_epsg(32650))
    plain = Grid(400, 300)
    square = supports((64, 64), 2)
    assert TilePlan().tiling(grid, square, 'a').tile == 64
    assert TilePlan().tiling(grid, supports((64, 64), 4.0), 'a').tile == 128
    assert TilePlan().tiling(grid, supports((64, 100), None), 'a').tile == 80
    assert TilePlan(scale=0.5).tiling(grid, square, 'a').tile == 128
    found = TilePlan(tile=100, overlap=10).tiling(plain, square, 'a')
    assert (found.tile, found.overlap) == (100, 10)
    assert TilePlan(whole=True).tiling(grid, square, 'a') is None
    # about as large as a support, and nothing known of the ground: as in a test
    assert TilePlan().tiling(plain, supports((280, 280), 2), 'a') is None
    with pytest.raises(DataError, match='a is 300 x 400 pixels, smaller than a tile of 640 x 640'):
        TilePlan().tiling(grid, supports((64, 64), 20), 'a')
    with pytest.raises(ConfigError, match="scale is 'auto' or a number above 0, not 0"):
        TilePlan(scale=0)


def test_a_scene_is_blended_from_tiles(segmenter, folder):
    path = folder / 'scene.tif'
    found = segmenter(path, overlap=16)
    assert found.mask.shape == (80, 80)
    assert (found.mask[:48, :48] == 255).all() and np.isnan(found.probability[:48, :48]).all()
    known = found.mask != 255
    assert known.sum() == 80 * 80 - 48 * 48
    share = found.votes[known]
    np.testing.assert_array_equal(found.mask[known], share >= 0.4 * share.max() - 1e-4)
    # a pixel under one tile alone is what the tile gives
    rows, columns = slice(32, 80), slice(32, 80)
    tile = SCENE.transpose(1, 2, 0)[rows, columns]
    alone = segmenter(tile, whole=True)
    np.testing.assert_allclose(
        found.probability[-16:, -16:], alone.probability[-16:, -16:], rtol=1e-5
    )
    # the last tile of a row may be shorter; it is not stretched
    narrow = segmenter(SCENE.transpose(1, 2, 0)[32:, :56], tile=48, overlap=16)
    mirrored = np.pad(SCENE.transpose(1, 2, 0)[32:, 32:56], [(0, 0), (0, 24), (0, 0)], 'symmetric')
    alone = segmenter(mirrored, whole=True)
    np.testing.assert_allclose(narrow.probability[:, 48:], alone.probability[:, 16:24], rtol=1e-5)


def test_maps_lie_where_the_scene_lies(segmenter, folder, tmp_path):
    found = segmenter(folder / 'scene.tif', overlap=0)
    mask, probability, polygons, picture = found.save(tmp_path)
    with rasterio.open(mask) as file, rasterio.open(folder / 'scene.tif') as scene:
        assert (file.crs, file.transform, file.nodata) == (scene.crs, scene.transform, 255)
        np.testing.assert_array_equal(file.read(1), found.mask)
    with rasterio.open(probability) as file:
        np.testing.assert_array_equal(file.read(1), found.probability)
    table = geopandas.read_file(polygons)
    wanted = 4 * (found.mask == 1).sum()
    assert 0 < wanted == pytest.approx(table.area_m2.sum()) == pytest.approx(table.area.sum())
    assert picture.stat().st_size > 5000


def arguments(folder, *more):
    sets = [f'{k}={v}' for k, v in small(48).items()]
    sets = [text.replace('(', '[').replace(')', ']').replace(' ', '') for text in sets]
    return [str(config()), str(folder / 'weights.pth'), *map(str, more), '--cfg-options', *sets]


def command(monkeypatch, folder, *more):
    """Runs tools/predict_fewshot.py in this process; returns its exit status."""
    monkeypatch.setattr('sys.argv', ['predict_fewshot.py', *arguments(folder, *more)])
    with pytest.raises(SystemExit) as left:
        predict_fewshot.main()
    return left.value.code


def test_the_command(segmenter, folder, tmp_path, monkeypatch, capsys):
    torch.save(dict(state_dict=segmenter.model.state_dict()), folder / 'weights.pth')
    square = geopandas.GeoDataFrame(geometry=[box(500080, 3999900, 500120, 3999930)], crs=32650)
    square.to_file(folder / 'm.gpkg')
    queries = tmp_path / 'queries'
    (queries / 'sub').mkdir(parents=True)
    tile = SCENE.transpose(1, 2, 0)[32:, 32:]
    for name in ('a.png', 'sub/a.png', 'a.bmp'):
        Image.fromarray(tile).save(queries / name)
    (queries / 'bad.png').write_bytes(b'no image')
    shutil.copy(folder / 'scene.tif', queries / 'scene.tif')
    asked = ['--support', folder / 'support.tif', folder / 'm.gpkg', '--save-fitted']
    asked += [tmp_path / 'fitted.pth', '--query', queries, '--out', tmp_path / 'out']
    assert command(monkeypatch, folder, *asked) == 1
    with open(tmp_path / 'out/summary.csv') as file:
        rows = {Path(row['image']).name: row for row in csv.DictReader(file)}
    assert rows['bad.png']['status'] == 'failed' and 'bad.png' in rows['bad.png']['reason']
    assert float(rows['scene.tif']['area_m2']) == 4 * int(rows['scene.tif']['pixels']) > 0
    written = {str(p.relative_to(tmp_path / 'out')) for p in (tmp_path / 'out').rglob('*_mask*')}
    assert written == {'a_png_mask.png', 'a_bmp_mask.png', 'sub/a_mask.png', 'scene_mask.tif'}
    assert not list((tmp_path / 'out').glob('.*tiles'))
    with rasterio.open(tmp_path / 'out/scene_mask.tif') as file:
        mask = segmenter.load(tmp_path / 'fitted.pth')(folder / 'scene.tif').mask
        np.testing.assert_array_equal(file.read(1), mask)
    # the same again: what is there is kept
    asked = ['--fitted', tmp_path / 'fitted.pth', *asked[5:]]
    assert command(monkeypatch, folder, *asked) == 1
    assert capsys.readouterr().out.count('kept') == 4


SUPPORT = ['--support', __file__, __file__]


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (['--query', 'x.png', '--out', 'o'], 'give the examples either by --support'),
        (['--support', 'a.png', 'b.png'], 'give images to search by --query'),
        (['--support', 'a.png', 'b.png', '--query', 'x.png'], 'by --out'),
        (['--support', 'a.png', 'b.png', '--save-fitted', 'g'], 'a.png: no such file; it is to be'),
        ([*SUPPORT, '--query', 'x.png', '--out', 'o'], 'no image or folder x.png'),
        (['--fitted', __file__, '--save-fitted', 'g', '--scale', 'big'], 'big: give a number'),
        (['--fitted', 'f', '--save-fitted', 'g'], 'f: no such file'),
    ],
)
def test_a_wrong_command_is_one_sentence(folder, monkeypatch, capsys, given, message):
    assert command(monkeypatch, folder, *given) == 2
    assert message in capsys.readouterr().err


def test_fusion_works_on_tiles(segmenter, folder, tmp_path):
    options = small(48) | {
        'model.post_processor.eig_dir': str(tmp_path / 'eig'),
        'model.post_processor.decomposition.arch': 'resnet18',
        'model.post_processor.decomposition.checkpoint': None,
    }
    fused = FewShotSegmenter(config('_fuse'), options=options)
    fused._set_supports(segmenter.supports)
    tile = SCENE.transpose(1, 2, 0)[32:, 32:]
    alone, tiled = fused(tile, whole=True), fused(tile, tile=48, overlap=0)
    np.testing.assert_array_equal(alone.mask, tiled.mask)
    assert not (tmp_path / 'eig').exists()  # a folder knows images by name alone


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_map(segmenter, folder, tmp_path):
    torch.save(dict(state_dict=segmenter.model.state_dict()), folder / 'weights.pth')
    segmenter.save(tmp_path / 'fitted.pth')
    write(tmp_path / 'large.tif', np.tile(SCENE, (1, 5, 4)), 2, nodata=0)
    asked = ['--fitted', tmp_path / 'fitted.pth', '--query', tmp_path / 'large.tif', '--map']
    tool = [sys.executable, str(ROOT / 'tools/predict_fewshot.py')]

    def start(out, *more):
        given = arguments(folder, *asked, f'{out}.html', '--out', out, *more)
        env = os.environ | dict(PYTHONPATH=str(ROOT))
        return subprocess.Popen([*tool, *given], cwd=ROOT, env=env)

    assert start(tmp_path / 'whole').wait() == 0
    process, hidden = start(tmp_path / 'killed'), tmp_path / 'killed/.large.tiles'
    while len(list(hidden.glob('done_*.npy'))) < 2:
        assert process.poll() is None, 'it ended before it could be killed'
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path.name: path.stat().st_mtime_ns for path in hidden.glob('done_*.npy')}
    assert kept and not list((tmp_path / 'killed').glob('[!.]*.tif'))
    assert start(tmp_path / 'killed', '--resume').wait() == 0
    for name in ('large_mask.tif', 'large_probability.tif'):
        mine, wanted = (rasterio.open(tmp_path / run / name) for run in ('killed', 'whole'))
        with mine, wanted:
            np.testing.assert_array_equal(mine.read(1), wanted.read(1))
    assert not hidden.exists() and (tmp_path / 'killed.html').stat().st_size > 10_000
