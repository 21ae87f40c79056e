"""The page in a real browser."""

import io
import json
import urllib.error
import urllib.request

import cv2
import numpy as np
import pytest
from PIL import Image

from rs_mm.datasets.fake.patternnet import make_patternnet
from rs_mm.errors import DataError, MissingFileError
from rs_mm.retrieval.index import Record
from tests.browser import chromium, opened
from tests.weicom_toy import ARCH, PIPELINE

gradio = pytest.importorskip('gradio', reason='needs the extra page')

from rs_mm.apis import ImageSearch  # noqa: E402
from rs_mm.serve import Settings, build_page, serve  # noqa: E402
from rs_mm.serve.app import read_users  # noqa: E402
from rs_mm.serve.archive_files import folder_inside, is_inside  # noqa: E402
from rs_mm.serve.change_tab import find_masks, patches, show_pair  # noqa: E402
from rs_mm.serve.few_shot_tab import read_example  # noqa: E402

DEMO = 'configs/demo/weicom_tiny_patterncom.py'


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """An archive with places on Earth, a map of changes, and a file beside them."""
    root = tmp_path_factory.mktemp('page')
    make_patternnet(root / 'set', images_per_class=2, size=48)
    names = sorted(path.name for path in (root / 'set/images').rglob('*.jpg'))
    rows = [f'{name},{i},40,{i + 0.9},41' for i, name in enumerate(names)]
    (root / 'meta.csv').write_text('\n'.join(['name,west,south,east,north', *rows]))
    for name in ('a', 'b', 'maps'):
        (root / name).mkdir()
    rng = np.random.default_rng(0)
    for name in ('a', 'b'):
        Image.fromarray(rng.integers(0, 255, (60, 80, 3), np.uint8)).save(root / name / 'p.png')
    mask = np.zeros((60, 80), np.uint8)
    mask[5:15, 10:30], mask[40:43, 50:54], mask[50:, 70:] = 255, 255, 127
    cv2.imwrite(str(root / 'maps/p_change.png'), mask)
    (root / 'secret.txt').write_text('secret')
    return root


class Finds:
    """A few-shot model that finds what is as bright as the first example's object."""

    def fit(self, images, masks, class_name):
        self.masks = masks
        self.level = images[0][masks[0] > 0].mean()
        return self

    def __call__(self, path):
        image = np.asarray(Image.open(path).convert('RGB'))
        mask = (abs(image.mean(-1) - self.level) < 30).astype(np.uint8)

        class Result:
            score, share = 0.5, float(mask.mean())

        Result.image, Result.mask = image, mask
        return Result


@pytest.fixture(scope='module')
def finds():
    return Finds()


@pytest.fixture(scope='module')
def page(folder, finds):
    chromium()
    engine = ImageSearch(
        folder / 'set/images',
        DEMO,
        options={'model.arch': ARCH, 'test_dataloader.dataset.pipeline': PIPELINE},
        index=str(folder / 'index'),
        metadata=folder / 'meta.csv',
    )
    blocks = build_page(engine, folder / 'maps', (folder / 'a', folder / 'b'), finds)
    yield serve(blocks, Settings(uploads=1), block=False)
    blocks.close()


def only_own(requests, address):
    return [url for url in requests if not url.startswith((address, 'data:', 'blob:', 'about:'))]


def test_search_in_the_browser(page, folder):
    with opened(page) as (shown, requests, errors):
        shown.set_input_files(
            '#upload-a input[type=file]', folder / 'set/images/harbor/harbor001.jpg'
        )
        shown.wait_for_selector('#upload-a :text("harbor001")')
        shown.click('#search-a')
        shown.wait_for_selector('#gallery-a .thumbnail-item img')
        captions = shown.locator('#gallery-a .caption-label')
        assert captions.count() == 12 and captions.first.inner_text().startswith(
            '1. 1.000 harbor001'
        )
        assert 'Image only' in shown.locator('#report-a').inner_text()
        # text and slider
        shown.fill('#text-a textarea', 'with boats')
        shown.fill('#lambda-a input[type=number]', '1')
        shown.click('#search-a')
        shown.wait_for_selector('#report-a :text("lambda 1")')
        # more like this
        second = shown.locator('#gallery-a .caption-label').nth(1).inner_text().split()[-1]
        shown.fill('#text-a textarea', '')
        shown.locator('#gallery-a .thumbnail-item').nth(1).click()
        shown.wait_for_function(
            'n => document.querySelector("#gallery-a .caption-label")'
            '.innerText.startsWith("1. 1.000 " + n)',
            arg=second,
        )
        # the map of footprints, in its own frame
        frame = shown.frame_locator('#map-a iframe')
        frame.locator('path.leaflet-interactive').first.wait_for()
        assert frame.locator('.leaflet-image-layer').count() == 12
        with shown.expect_download() as download:
            shown.click('#csv-a')
        rows = download.value.path().read_text().splitlines()
        assert len(rows) == 13 and second in rows[1]
        with shown.expect_download() as download:
            shown.click('#geojson-a')
        features = json.loads(download.value.path().read_text())['features']
        assert features[0]['geometry']['type'] == 'Polygon'
        # a message instead of a traceback; then two queries side by side
        shown.click('#clear-a')
        shown.click('#search-a')
        shown.wait_for_selector('.toast-body :text("give an image, a text, or both")')
        shown.check('#compare input')
        shown.fill('#text-b textarea', 'a runway')
        shown.click('#search-b')
        shown.wait_for_selector('#gallery-b .thumbnail-item img')
        assert not errors and not only_own(requests, page)


def test_changes_in_the_browser(page):
    with opened(page) as (shown, requests, errors):
        shown.click('button[role=tab]:has-text("Changes")')
        shown.click('#pair input')
        shown.click('ul[role=listbox] li')
        shown.wait_for_selector('#changes img')
        assert '4.51%' in shown.locator('#change-about').inner_text()
        assert '2 patches' in shown.locator('#change-about').inner_text()
        row = shown.locator('#patches [role=row][data-index="0"]')
        row.wait_for()
        cells = row.inner_text().split()
        assert cells[:3] == ['1', '200', 'pixels']
        assert not errors and not only_own(requests, page)


def test_few_shot_in_the_browser(page, folder, tmp_path):
    picture = np.full((64, 64, 3), 30, np.uint8)
    picture[20:40, 20:40] = 240
    Image.fromarray(picture).save(tmp_path / 'x.png')
    Image.fromarray((picture[..., 0] > 100).astype(np.uint8) * 255).save(tmp_path / 'mask.png')
    with opened(page) as (shown, _, errors):
        shown.click('button[role=tab]:has-text("Few-shot")')
        shown.set_input_files(
            '#example-files input[type=file]', [tmp_path / 'x.png', tmp_path / 'mask.png']
        )
        shown.wait_for_selector('#example-files :text("mask")')
        shown.click('#add-example')
        shown.wait_for_selector('#examples img')
        shown.click('#find')
        shown.wait_for_selector('#found img')
        assert '28 images' in shown.locator('#few-shot-report').inner_text()
        assert not errors


def wait_for_colour(shown, colour):
    """Waits until the canvas shows a colour: it tells nobody when it is drawn."""
    for _ in range(60):
        content = shown.locator('#paint').screenshot()
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert('RGB')).astype(int)
        if (abs(pixels - colour).max(-1) < 8).sum() > 300:
            return
        shown.wait_for_timeout(500)
    raise AssertionError(f'{colour} does not appear')


def choose_folder(shown, name):
    field = shown.locator('#folder input, #folder textarea')
    field.fill(name)
    field.press('Tab')
    shown.wait_for_timeout(500)


def test_a_mask_is_painted_in_the_browser(page, finds, tmp_path):
    picture = np.full((256, 256, 3), 30, np.uint8)
    picture[80:160, 80:160] = 240
    Image.fromarray(picture).save(tmp_path / 'x.png')
    with opened(page) as (shown, requests, errors):
        shown.click('button[role=tab]:has-text("Few-shot")')
        shown.set_input_files('#paint input[type=file]', tmp_path / 'x.png')
        shown.wait_for_selector('#paint button[aria-label="Brush"]')
        wait_for_colour(shown, (30, 30, 30))
        box = shown.locator('#paint canvas').last.bounding_box()
        x, y = box['x'] + box['width'] / 2, box['y'] + box['height'] / 2
        shown.mouse.move(x - 20, y)
        shown.mouse.down()
        shown.mouse.move(x + 20, y, steps=8)
        shown.mouse.up()
        wait_for_colour(shown, (255, 0, 0))
        shown.wait_for_timeout(1000)  # what was painted goes to the page's state
        shown.click('#add-example')
        shown.wait_for_selector('#examples img')
        # a folder outside the archive
        choose_folder(shown, '../maps')
        shown.click('#find')
        shown.wait_for_selector('.toast-body :text("there is no folder")')
        choose_folder(shown, 'river')
        shown.click('#find')
        shown.wait_for_selector('#few-shot-report :text("2 images")')
        assert not errors and not only_own(requests, page)
    (mask,) = finds.masks
    rows, columns = np.nonzero(mask)
    assert mask.shape == (256, 256) and 500 < mask.sum() < 6000
    assert abs(rows.mean() - 128) < 12 and np.ptp(columns) > np.ptp(rows)


def test_other_files_are_refused(page, folder):
    for path in (folder / 'secret.txt', '/etc/passwd', folder / 'set/images/../../secret.txt'):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f'{page}gradio_api/file={path}')
        assert refused.value.code in (403, 404)
    noise = np.random.default_rng(0).integers(0, 255, (700, 700, 3), np.uint8)
    Image.fromarray(noise).save(folder / 'large.png')
    with opened(page) as (shown, _, _):
        for name, message in (('secret.txt', 'Invalid file type'), ('large.png', 'exceed')):
            shown.set_input_files('#upload-a input[type=file]', folder / name)
            shown.wait_for_selector(f'.toast-body :text("{message}")')
    assert page.startswith('http://127.0.0.1:')


def test_what_is_uploaded_past_the_page_is_refused(page, folder):
    """Somebody may speak to the server without the page, which checks types in the browser."""
    part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body = part + b'0' * 2_000_000 + b'\r\n--x--\r\n'
    upload = urllib.request.Request(
        f'{page}gradio_api/upload', body, {'Content-Type': 'multipart/form-data; boundary=x'}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(upload)
    assert refused.value.code == 413


def test_a_login_is_asked_for(folder):
    chromium()
    import gradio

    with gradio.Blocks() as blocks:
        gradio.Markdown('inside')
    address = serve(blocks, Settings(users={'ann': 'right'}), block=False)
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f'{address}config')
        assert refused.value.code == 401
        with opened(address) as (shown, requests, _):
            for word in ('wrong', 'right'):
                shown.fill('input[type=text], textarea', 'ann')
                shown.fill('input[type=password]', word)
                shown.click('button:has-text("Login")')
                shown.wait_for_selector(f':text("{dict(wrong="Incorrect", right="inside")[word]}")')
            assert not only_own(requests, address)
    finally:
        blocks.close()


def test_records_that_lead_out(tmp_path):
    (tmp_path / 'archive/sub').mkdir(parents=True)
    (tmp_path / 'secret.jpg').write_bytes(b'')
    (tmp_path / 'archive/link.jpg').symlink_to(tmp_path / 'secret.jpg')
    (tmp_path / 'archive/sub/a.jpg').write_bytes(b'')
    archive = tmp_path / 'archive'
    assert is_inside(Record('sub/a.jpg', str(archive / 'sub/a.jpg')))
    for name, path in (
        ('link.jpg', archive / 'link.jpg'),
        ('../secret.jpg', archive / '../secret.jpg'),
        ('a.jpg', tmp_path / 'secret.jpg'),
    ):
        assert not is_inside(Record(name, str(path)))
    assert folder_inside(archive, '/sub') == (archive / 'sub').resolve()
    for name in ('..', '../archive/../', 'none'):
        with pytest.raises(DataError, match='no folder'):
            folder_inside(archive, name)


def test_users_are_read(tmp_path):
    path = tmp_path / 'users'
    path.write_text('ann:pass:word\n\nbo:x\n')
    assert read_users(path) == dict(ann='pass:word', bo='x')
    path.write_text('ann:one\nbo\n')
    with pytest.raises(DataError, match='line 2: write NAME:PASSWORD') as told:
        read_users(path)
    assert 'one' not in str(told.value)
    with pytest.raises(MissingFileError, match='no file of users'):
        read_users(tmp_path / 'none')


def test_patches_have_their_area_on_the_ground(tmp_path, folder):
    rasterio = pytest.importorskip('rasterio', reason='needs the extra geo')
    from rasterio.transform import from_origin

    mask = np.zeros((20, 30), np.uint8)
    mask[2:6, 3:8], mask[10, 10] = 255, 255
    with rasterio.open(
        tmp_path / 'x_change.tif', 'w', driver='GTiff', width=30, height=20, count=1,
        dtype='uint8', crs='EPSG:32633', transform=from_origin(500_000, 5_500_000, 10, 10),
    ) as file:  # fmt: skip
        file.write(mask, 1)
    rows = patches(tmp_path / 'x_change.tif', mask == 255)
    assert [row[1:3] for row in rows] == [[2000.0, 'm²'], [100.0, 'm²']]
    assert rows[1][3:] == [10, 10]
    masks = find_masks(folder / 'maps')
    assert list(masks) == ['p']
    *_, about = show_pair(masks['p'], None)
    assert '--dates' in about
    with pytest.raises(MissingFileError, match='holds no map of changes'):
        find_masks(folder / 'a')


def test_painted_examples():
    image = np.zeros((8, 8, 4), np.uint8)
    layer = np.zeros((8, 8, 4), np.uint8)
    with pytest.raises(DataError, match='nothing is painted'):
        read_example(dict(background=image, layers=[layer]), None)
    layer[2:4, 2:4] = 255
    picture, mask = read_example(dict(background=image, layers=[layer]), None)
    assert picture.shape == (8, 8, 3) and mask.sum() == 4
    with pytest.raises(DataError, match='upload an image and paint'):
        read_example(None, None)


def test_files_are_offered_for_an_hour(monkeypatch):
    from rs_mm.serve import downloads

    offered = downloads.Downloads()
    first = offered.folder()
    (first / 'x.csv').write_text('x')
    assert offered.folder() != first and first.is_dir()
    monkeypatch.setattr(downloads, 'KEPT', -1)
    second = offered.folder()
    assert second.is_dir() and not first.exists()
    root = second.parent
    del offered
    assert not root.exists()
