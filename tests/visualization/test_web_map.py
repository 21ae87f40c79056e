import json
import re

import numpy as np
import pytest

from rs_mm.errors import DataError
from rs_mm.visualization.web_map import Item, Overlay, Shapes, WebMap, data_uri, rectangle
from tests.browser import opened

PLACE = (15.0, 49.0, 15.2, 49.1)
EVIL = '</script><img src=http://example.org/x.png onerror=alert(1)> @DATA@'


def example(geographic=True):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (60, 120, 3), np.uint8)
    clear = np.dstack([picture, np.full((60, 120), 90, np.uint8)])
    place = PLACE if geographic else (0, 0, 120, 60)
    return WebMap(
        f'Hits {EVIL}',
        'all of them',
        overlays=[Overlay('picture', picture, place), Overlay('mask', clear, place, 'masks', 0.5)],
        shapes=[Shapes('footprints', [rectangle(place, dict(name=EVIL, area=3.5))])],
        items=[Item('1. a.tif', '0.9', picture, place), Item('2. b.tif', '0.8', picture)],
        legend=[('changed', '#f00')],
        geographic=geographic,
    )


def test_the_page_is_whole_and_holds_no_markup_of_its_data(tmp_path):
    example().save(tmp_path / 'map.html')
    page = (tmp_path / 'map.html').read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
    assert data['shapes'][0]['features']['features'][0]['properties']['name'] == EVIL
    assert data['overlays'][1]['image'].startswith('data:image/png')
    assert page.count('</script>') == 3 and 'Leaflet 1.9.4' in page
    # its own title is there as a text
    markup = page.split('id="data"')[0].replace('&lt;img src=http', '')
    assert not re.search(r'(src|href)="?(http|images/)|url\(images', markup)


def test_names_of_layers_are_no_markup(tmp_path):
    picture = np.zeros((4, 4, 3), np.uint8)
    evil = '<img src=x onerror="document.title=1">'
    page = WebMap(
        'x',
        overlays=[Overlay(evil, picture, PLACE, evil)],
        shapes=[Shapes(f'{evil} (1)', [rectangle(PLACE, {evil: evil})])],
        legend=[(evil, '#f00')],
    )
    text = re.search(r'id="data">(.*?)</script>', page.html(), re.S)[1]
    data = json.loads(text)
    assert data['overlays'][0]['group'].startswith('&lt;img')
    assert data['shapes'][0]['name'].startswith('&lt;img')
    page.save(tmp_path / 'map.html')
    with opened((tmp_path / 'map.html').as_uri()) as (shown, requests, errors):
        assert shown.locator('.leaflet-control-layers-overlays img').count() == 0
        assert evil in shown.locator('.leaflet-control-layers-overlays').inner_text()
        assert shown.title() == 'x'


def test_a_place_outside_the_earth_is_refused():
    with pytest.raises(DataError, match='a.tif: the place .* is not on the map'):
        WebMap('x', items=[Item('a.tif', bounds=(0, 0, 1, 91))]).html()
    with pytest.raises(DataError, match='is not on the map'):
        WebMap('x', items=[Item('a', bounds=(0, 0, 1, float('nan')))], geographic=False).html()


def test_pictures_are_reduced():
    large = np.zeros((400, 1000, 3), np.uint8)
    assert len(data_uri(large, 100)) < len(data_uri(large, 1000))


@pytest.mark.parametrize('geographic', [True, False])
def test_the_map_opens_offline(tmp_path, geographic):
    path = tmp_path / 'map.html'
    example(geographic).save(path)
    with opened(path.as_uri()) as (page, requests, errors):
        assert page.locator('.leaflet-image-layer').count() == 2
        assert page.locator('.leaflet-control-layers label').count() == 3
        page.locator('.item').first.click()
        page.wait_for_selector('.leaflet-popup-content')
        assert '1. a.tif' in page.locator('.leaflet-popup-content').inner_text()
        page.locator('.leaflet-popup-close-button').click()
        page.locator('path.leaflet-interactive').click(position=dict(x=60, y=60))
        page.wait_for_selector('.leaflet-popup-content .attributes')
        assert EVIL in page.locator('.leaflet-popup-content').last.inner_text()
        page.screenshot(path=tmp_path / 'map.png')
        outside = [url for url in requests if not url.startswith(('file:', 'data:'))]
        assert not errors and not outside


def test_without_a_place_the_hits_are_a_grid(tmp_path):
    path = tmp_path / 'map.html'
    page = example()
    page.overlays, page.shapes = [], []
    page.items = [Item('a', 'x', np.zeros((9, 9, 3), np.uint8))]
    page.save(path)
    with opened(path.as_uri()) as (shown, _, errors):
        assert (
            shown.locator('#map').count() == 0 and shown.locator('#list.alone .item').count() == 1
        )
        assert not errors
