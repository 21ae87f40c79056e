"""Labels on a map."""

import cv2
import numpy as np
import pytest

from rs_mm.apis.labels.map import labels_map
from tests.browser import opened

from .test_mask_maps import write


def test_tiles_and_images(tmp_path):
    pytest.importorskip('rasterio', reason='needs the extra geo')
    pixels = np.random.default_rng(0).integers(0, 255, (64, 128, 3)).astype(np.uint8)
    write(tmp_path / 'scene.tif', pixels)
    cv2.imwrite(str(tmp_path / 'plain.png'), pixels)
    table = tmp_path / 'tags.csv'
    table.write_text(
        'path,window,labels,reason,water,trees\n'
        f'{tmp_path}/scene.tif,0 0 64 64,water;trees,,0.9,0.8\n'
        f'{tmp_path}/scene.tif,0 64 64 64,trees,,0.1,0.8\n'
        f'{tmp_path}/plain.png,,water,,0.7,0.1\n'
        f'{tmp_path}/bad.png,,,bad.png is damaged,,\n'
    )
    page = labels_map(table)
    first, second = page.shapes[0].features
    left, right = (np.array(f['geometry']['coordinates'][0]) for f in (first, second))
    assert left.max(0)[0] == pytest.approx(right.min(0)[0], abs=1e-5)
    assert first['properties']['_colour'] == dict(page.legend)['water']
    assert [overlay.name for overlay in page.overlays] == ['scene.tif']
    assert [(item.title, item.text) for item in page.items] == [
        ('plain.png', 'water'),
        ('bad.png', 'bad.png is damaged'),
    ]
    page.save(tmp_path / 'map.html')
    with opened((tmp_path / 'map.html').as_uri()) as (shown, requests, errors):
        assert shown.locator('path.leaflet-interactive').count() == 2
        assert not errors and not [url for url in requests if url.startswith('http')]
