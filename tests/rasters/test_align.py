"""Two dates on one grid, or a sentence that says why not."""

from dataclasses import replace

import numpy as np
import pytest

rasterio = pytest.importorskip('rasterio', reason='the extra geo is not installed')

from affine import Affine  # noqa: E402
from rasterio.crs import CRS  # noqa: E402
from rasterio.enums import ColorInterp, Resampling  # noqa: E402
from rasterio.transform import from_origin  # noqa: E402
from rasterio.warp import reproject  # noqa: E402

from rs_mm.errors import DataError  # noqa: E402
from rs_mm.rasters import open_raster  # noqa: E402
from rs_mm.rasters.align import align_pair  # noqa: E402
from rs_mm.rasters.grid import Grid, same_crs  # noqa: E402
from tests.rasters.files import UTM, smooth, write  # noqa: E402

IMAGE = smooth(60, 80)
BASE = UTM['transform']


def pair(tmp_path, how, first=None, second=None, images=(IMAGE, IMAGE), **kwargs):
    paths = [
        write(tmp_path / f'{name}.tif', image, **(UTM | (given or {})))
        for name, image, given in zip('ab', images, (first, second))
    ]
    with open_raster(paths[0]) as a, open_raster(paths[1]) as b:
        aligned = align_pair(a, b, how, **kwargs)
        found = aligned.read(**kwargs)
        aligned.close()
    return aligned, found


def test_the_same_grid_written_differently(tmp_path):
    esri = CRS.from_wkt(CRS.from_epsg(32650).to_wkt(version='WKT1_ESRI'))
    aligned, found = pair(tmp_path, 'none', second=dict(crs=esri))
    assert aligned.grid.shape == (60, 80) and not aligned.notes
    np.testing.assert_array_equal(found[1].array, IMAGE)
    assert not same_crs(CRS.from_epsg(32650), CRS.from_epsg(32651), Grid(9, 9, BASE))
    assert not same_crs(CRS.from_epsg(32650), CRS.from_epsg(4326), Grid(9, 9, BASE))


@pytest.mark.parametrize(
    'second, reason',
    [
        (dict(crs='EPSG:32651'), 'EPSG:32650 and .* in EPSG:32651.*--align resample'),
        (dict(crs='EPSG:3857'), 'EPSG:3857'),
        (dict(transform=BASE @ Affine.rotation(10)), 'turned by .*10'),
        (dict(transform=BASE @ Affine.scale(0.4)), 'measure 10 x 10 .* 4 x 4'),
    ],
)
def test_what_none_and_ground_refuse(tmp_path, second, reason):
    for how in ('none', 'ground'):
        with pytest.raises(DataError, match=reason):
            pair(tmp_path, how, second=second)


def test_shifts(tmp_path):
    """Whole pixels are cut exactly, parts of a pixel are resampled, not rounded."""
    moved = dict(transform=BASE @ Affine.translation(3, -2))
    with pytest.raises(DataError, match='3 columns right and -2 rows below .*--align ground'):
        pair(tmp_path, 'none', second=moved)
    aligned, (a, b) = pair(tmp_path, 'ground', second=moved)
    assert aligned.grid.shape == (58, 77) and aligned.grid.transform == BASE @ (
        Affine.translation(3, 0)
    )
    np.testing.assert_array_equal(a.array, IMAGE[:58, 3:])
    np.testing.assert_array_equal(b.array, IMAGE[2:, :77])
    half = dict(transform=BASE @ Affine.translation(2.5, 0))
    aligned, (a, b) = pair(tmp_path, 'ground', second=half)
    assert aligned.grid.shape == (60, 77) and 'resampled' in aligned.notes[0]
    between = (IMAGE[:, :77].astype(float) + IMAGE[:, 1:78]) / 2
    assert np.abs(b.array - between).max() <= 1 and b.valid.all()
    near = dict(transform=BASE @ Affine.translation(0.4, 0))
    assert 'half a pixel' in pair(tmp_path, 'none', second=near)[0].notes[0]
    far = dict(transform=BASE @ Affine.translation(500, 0))
    with pytest.raises(DataError, match='no ground in common'):
        pair(tmp_path, 'ground', second=far)


@pytest.mark.parametrize(
    'second',
    [
        dict(crs='EPSG:32651', transform=None),
        dict(crs='EPSG:4326', transform=None),
        dict(crs='EPSG:3857', transform=None),
        dict(transform=BASE @ Affine.translation(20, 20) @ Affine.rotation(10)),
        dict(transform=BASE @ Affine.scale(0.4)),
        dict(transform=BASE @ Affine.translation(0.4, 11)),
    ],
)
def test_resampled_as_gdal_warps(tmp_path, second):
    crs = CRS.from_user_input(second.get('crs', UTM['crs']))
    if second.get('transform') is None:  # a grid of that system over the same ground
        bounds = rasterio.transform.array_bounds(60, 80, BASE)
        west, south, east, north = rasterio.warp.transform_bounds(UTM['crs'], crs, *bounds)
        second = dict(transform=from_origin(west, north, (east - west) / 80, (north - south) / 60))
    other = smooth(60, 80, seed=1)
    aligned, (a, b) = pair(
        tmp_path, 'resample', second=second | dict(crs=crs), images=(IMAGE, other)
    )
    np.testing.assert_array_equal(a.array, IMAGE)
    wanted = np.zeros((4, 60, 80), np.float32)
    source = np.concatenate([other.transpose(2, 0, 1), np.full((1, 60, 80), 255, np.uint8)])
    reproject(
        source, wanted, src_transform=second['transform'], src_crs=crs, dst_transform=BASE,
        dst_crs=UTM['crs'], resampling=Resampling.bilinear,
    )  # fmt: skip
    inside = (wanted[3] == 255) & b.valid
    assert inside.mean() > 0.1 and (inside.sum() > 0.9 * b.valid.sum())
    off = np.abs(b.array[inside] - wanted[:3].transpose(1, 2, 0)[inside])
    assert np.percentile(off, 99) <= 3


def test_resampled_nodata_alpha_and_missing_ground(tmp_path):
    holed = IMAGE.astype('f4')
    holed[20:30, 20:30] = -9999
    shift = dict(transform=BASE @ Affine.translation(1.5, 1.5))
    _, (_, b) = pair(tmp_path, 'resample', second=shift | dict(nodata=-9999), images=(IMAGE, holed))
    assert not b.valid[22:28, 22:28].any() and not b.valid[0].any() and b.valid[40:, 40:].all()
    assert b.array[b.valid].min() >= 0
    alpha = np.full((60, 80), 255, np.uint8)
    alpha[20:30, 20:30] = 0
    colours = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    images = IMAGE, np.dstack([IMAGE, alpha])
    given = shift | dict(colours=colours)
    _, (_, b) = pair(tmp_path, 'resample', second=given, images=images)
    assert b.array.shape[2] == 3 and not b.valid[22:28, 22:28].any() and b.valid[40:, 40:].all()
    images = images[1], images[1]
    _, (_, b) = pair(
        tmp_path, 'resample', dict(colours=colours), given, images=images, bands=[0, 3]
    )
    assert b.array.shape[2] == 2 and b.valid[22:28, 22:28].all()
    assert (b.array[22:28, 22:28, 1] == 0).all()


def test_crop_and_pictures_without_georeference(tmp_path):
    aligned, (a, b) = pair(
        tmp_path, 'crop', second=dict(crs='EPSG:4326'), images=(IMAGE, IMAGE[:50])
    )
    assert aligned.grid.shape == (50, 80) and aligned.grid.transform == BASE
    np.testing.assert_array_equal(a.array, b.array)
    bare = dict(crs=None, transform=Affine.identity())
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        with pytest.raises(DataError, match='b.tif has no georeference'):
            pair(tmp_path, 'resample', second=bare)
        with pytest.raises(DataError, match='60 x 80 pixels and .* 50 x 80'):
            pair(tmp_path, 'none', bare, bare, (IMAGE, IMAGE[:50]))
        assert 'only one' in pair(tmp_path, 'none', second=bare)[0].notes[0]


def test_different_scales_of_values(tmp_path):
    path = write(tmp_path / 'a.tif', IMAGE, **UTM)
    with open_raster(path) as a, open_raster(path) as b:
        b.info = replace(b.info, offsets=(-1000.0,) * 3)
        with pytest.raises(DataError, match='different offsets'):
            align_pair(a, b, 'none')


@pytest.mark.parametrize('how', ['none', 'ground', 'resample'])
def test_a_raster_placed_by_control_points_alone_is_refused(tmp_path, how):
    from rasterio.control import GroundControlPoint

    plain = write(tmp_path / 'a.tif', smooth(40, 50), crs=None, transform=None)
    points = [GroundControlPoint(r, c, 10 + c, 50 - r) for r in (0, 39) for c in (0, 49)]
    with rasterio.open(plain, 'r+') as file:
        file.gcps = points, rasterio.CRS.from_epsg(4326)
    with open_raster(plain) as first, open_raster(plain) as second:
        assert first.info.transform is None
        with pytest.raises(DataError, match='a.tif lies on the ground by 4 ground control points'):
            align_pair(first, second, how)
        assert align_pair(first, second, 'crop').grid.shape == (40, 50)
