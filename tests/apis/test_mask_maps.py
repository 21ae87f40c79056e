"""Masks on a map."""

import json
import re

import cv2
import numpy as np
import pytest

from rs_mm.apis.mask_maps import MappedMask, mask_map
from rs_mm.apis.paths import check_map
from rs_mm.errors import ConfigError
from tests.browser import opened

rasterio = pytest.importorskip('rasterio', reason='needs the extra geo')
pytest.importorskip('shapely', reason='needs the extra geo')


def write(path, array, **options):
    from rasterio.transform import from_origin

    array = np.atleast_3d(array)
    with rasterio.open(
        path, 'w', driver='GTiff', height=array.shape[0], width=array.shape[1],
        count=array.shape[2], dtype=array.dtype, crs='EPSG:32633',
        transform=from_origin(500_000, 5_500_000, 10, 10), **options,
    ) as file:  # fmt: skip
        file.write(np.moveaxis(array, -1, 0))
    return path


@pytest.fixture
def placed(tmp_path):
    mask = np.zeros((120, 200), np.uint8)
    mask[10:30, 20:60], mask[90:95, 100:103], mask[:, 190:] = 255, 255, 127
    picture = np.random.default_rng(0).integers(0, 4000, (120, 200, 4)).astype(np.uint16)
    return MappedMask(
        write(tmp_path / 'p_change.tif', mask, nodata=127),
        {
            'date 1': write(tmp_path / 'a.tif', picture),
            'date 2': write(tmp_path / 'b.tif', picture),
        },
    )


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page.html(), re.S)[1])


def test_georeferenced_masks_lie_where_they_are(placed, tmp_path):
    page = mask_map('Changes', [placed])
    data = data_of(page)
    assert data['geographic'] and len(data['overlays']) == 3
    (shapes,) = data['shapes']
    first, second = shapes['features']['features']
    assert first['properties']['area_m2'] == pytest.approx(80_000, rel=1e-3)
    assert second['properties']['pixels'] == 15
    corner = np.array(first['geometry']['coordinates'][0]).min(0)
    assert corner[0] == pytest.approx(15 + 200 / 71_700, abs=2e-4)
    west, south, east, north = data['overlays'][0]['bounds']
    assert west < corner[0] < east and south < corner[1] < north
    page.save(tmp_path / 'map.html')
    with opened((tmp_path / 'map.html').as_uri()) as (shown, requests, errors):
        assert shown.locator('path.leaflet-interactive').count() == 2
        assert not errors and len([url for url in requests if url.startswith('http')]) == 0
        shown.screenshot(path=tmp_path / 'map.png')


def test_other_masks_lie_side_by_side(tmp_path):
    masks = []
    for name in 'ab':
        mask = np.zeros((50, 80), np.uint8)
        mask[10:20, 30:40] = 255
        cv2.imwrite(str(tmp_path / f'{name}_mask.png'), mask)
        cv2.imwrite(str(tmp_path / f'{name}.png'), np.full((50, 80, 3), 90, np.uint8))
        path = tmp_path / f'{name}_mask.png'
        masks.append(MappedMask(path, {'image': tmp_path / f'{name}.png'}, name))
    data = data_of(mask_map('Tanks', masks, {255: 'tank'}))
    assert not data['geographic'] and data['legend'][0][0] == 'tank'
    second = data['shapes'][0]['features']['features'][1]
    assert np.array(second['geometry']['coordinates'][0]).min(0).tolist() == [130, 10]
    assert [item['bounds'] for item in data['items']] == [[0, 0, 80, 50], [100, 0, 180, 50]]


def test_a_map_is_an_html_file():
    check_map(None)
    check_map('x.html')
    with pytest.raises(ConfigError, match='is an .html file'):
        check_map('x.png')
