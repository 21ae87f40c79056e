"""Search in scenes: a tile finds its own place; many queries in one start."""

import csv
import io

import numpy as np
import pytest
from PIL import Image

rasterio = pytest.importorskip('rasterio')
geopandas = pytest.importorskip('geopandas')

from rs_mm.apis import ImageSearch  # noqa: E402
from rs_mm.apis.search.command import search as search_command  # noqa: E402
from rs_mm.apis.search.queries import AskedQuery, prompted, read_queries  # noqa: E402
from rs_mm.datasets import scene_parts  # noqa: E402
from rs_mm.errors import ConfigError, DataError  # noqa: E402
from rs_mm.rasters import cut  # noqa: E402

from .test_search import DEMO, OPTIONS, ROOT, parse, search_tool  # noqa: E402, F401


def write(path, pixels, metres=2):
    count, height, width = pixels.shape
    profile = dict(driver='GTiff', count=count, height=height, width=width, dtype=pixels.dtype)
    place = rasterio.transform.from_origin(5e5, 4e6, metres, metres)
    with rasterio.open(path, 'w', crs='EPSG:32650', transform=place, **profile) as file:
        file.write(pixels)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """An archive with a scene of smooth colours and a picture, and a query cut from the scene."""
    folder = tmp_path_factory.mktemp('scenes')
    (folder / 'archive').mkdir()
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    scene = np.asarray(Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC))
    write(folder / 'archive/scene.tif', scene.transpose(2, 0, 1))
    Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(
        folder / 'archive/noise.png'
    )
    Image.fromarray(scene[60:100, 80:120]).save(folder / 'query.png')
    return folder


@pytest.fixture(scope='module')
def engine(folder):
    more = dict(index_dir=folder / 'index', options=OPTIONS)
    return ImageSearch(folder / 'archive', DEMO, tile='80m', stride='40m', **more)


def test_a_tile_finds_its_own_place(engine, folder):
    assert len(engine) == 7 * 5 + 1
    query = np.asarray(Image.open(folder / 'query.png'))
    for image in (folder / 'query.png', query, Image.fromarray(query)):
        first = engine(image, k=3)[0]
        assert first.record.window == (80, 60, 40, 40) and first.score == pytest.approx(1)
    west, south, east, north = first.record.footprint
    back = rasterio.warp.transform_bounds('EPSG:4326', 'EPSG:32650', west, south, east, north)
    np.testing.assert_allclose(back, (500160, 3999800, 500240, 3999880), atol=2)
    assert engine.picture(first.record).shape == (40, 40, 3)
    np.testing.assert_array_equal(engine.picture(first.record), query)


def options(folder, *more):
    given = ['--archive', folder / 'archive', '--config', folder / 'config.py', '--tile', '40']
    return [*given, '--index-dir', folder / 'index', '-k', '2', *more]


@pytest.fixture(scope='module')
def config_file(folder):
    lines = [
        f"_base_ = '{DEMO}'",
        f'model = dict(arch=dict(_delete_=True, **{OPTIONS["model.arch"]}))',
    ]
    pipeline = OPTIONS['test_dataloader.dataset.pipeline']
    lines.append(f'test_dataloader = dict(dataset=dict(pipeline={pipeline}))')
    (folder / 'config.py').write_text('\n'.join(lines))
    return folder


def test_many_queries_in_one_start(config_file, search_tool, tmp_path, capsys):  # noqa: F811
    folder = config_file
    table = folder / 'queries.csv'
    table.write_text('name,image,text\na,query.png,\nb,,a green field\nc,gone.png,\n')
    more = ('--queries', table, '--out', tmp_path / 'x.csv', '--show-dir', tmp_path / 'show')
    with pytest.raises(DataError, match='1 queries failed, e.g. c: .*gone.png'):
        search_command(parse(search_tool, options(folder, *more)))
    with open(tmp_path / 'x.csv') as file:
        rows = list(csv.DictReader(file))
    assert [row['query'] for row in rows] == ['a', 'a', 'b', 'b']
    assert rows[0]['window'].endswith(' 40 40')
    assert {path.name for path in (tmp_path / 'show').iterdir()} == {'a.png', 'b.png'}
    one = ('--image', folder / 'query.png', '--out', tmp_path / 'x.gpkg')
    search_command(parse(search_tool, options(folder, *one)))
    assert len(geopandas.read_file(tmp_path / 'x.gpkg')) == 2
    with pytest.raises(ConfigError, match='bring their own images'):
        search_command(parse(search_tool, options(folder, '--prompt', '--text', 'x')))


def test_queries_are_read_or_the_line_is_named(tmp_path, monkeypatch):
    path = tmp_path / 'q.csv'
    path.write_text('text,image\n"red, roof",\n')
    assert read_queries(path) == [AskedQuery('query 1', None, 'red, roof')]
    for text, message in (
        ('text,picture\n', 'the header is text, picture'),
        ('text\n', 'holds no query'),
        ('text,image,name\na,,\n,,b\n', 'line 3: give an image'),
        ('name,text\na,x\na,y\n', "two queries are named 'a'"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_queries(path)
    monkeypatch.setattr('sys.stdin', io.StringIO('a.png\n| red roof\nb.png | boats\n\nc\n'))
    assert [(q.image, q.text) for q in prompted()] == [
        ('a.png', None),
        (None, 'red roof'),
        ('b.png', 'boats'),
    ]


def test_a_tile_of_a_real_scene_finds_its_own_footprint(samples, tmp_path):
    scene = sorted((samples / 'naip').glob('*.tif'))[0]
    (tmp_path / 'archive').mkdir()
    (tmp_path / 'archive/scene.tif').symlink_to(scene)
    with rasterio.open(scene) as file:
        window = rasterio.windows.Window(256, 128, 256, 256)
        tile = file.read([1, 2, 3], window=window).transpose(1, 2, 0)
        left, top = file.transform * (256, 128)
        crs = file.crs
    more = dict(index_dir=tmp_path / 'index', options=OPTIONS)
    engine = ImageSearch(tmp_path / 'archive', DEMO, tile=256, stride=128, **more)
    first = engine(tile, k=1)[0]
    assert first.record.window == (256, 128, 256, 256)
    west, _, _, north = first.record.footprint
    (x,), (y,) = rasterio.warp.transform('EPSG:4326', crs, [west], [north])
    assert abs(x - left) < 20 and abs(y - top) < 20  # bounds in degrees enclose the tile


@pytest.fixture(scope='module')
def plain_folder(tmp_path_factory):
    """A JPEG scene without georeference, three pictures, and a query cut from the scene."""
    folder = tmp_path_factory.mktemp('parts')
    (folder / 'archive').mkdir()
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (5, 5, 3), dtype=np.uint8)
    scene = np.array(Image.fromarray(coarse).resize((300, 280), Image.Resampling.BICUBIC))
    down, right = np.mgrid[:64, :64] * 4
    scene[134:198, 74:138] = np.stack([right, down, 0 * down], 2)
    Image.fromarray(scene).save(folder / 'archive/scene.jpg', quality=95)
    Image.fromarray(scene[150:182, 90:122]).save(folder / 'query.png')
    for name in 'abc':
        small = Image.fromarray(rng.integers(0, 256, (3, 3, 3), dtype=np.uint8))
        small.resize((80, 80)).save(folder / f'archive/{name}.png')
    return folder


def test_a_scene_is_searched_in_parts_without_being_told_to(plain_folder, monkeypatch):
    archive, query = plain_folder / 'archive', plain_folder / 'query.png'
    more = dict(index=str(plain_folder / 'index'), options=OPTIONS)
    whole = ImageSearch(archive, DEMO, tile='none', **more)
    assert len(whole) == 4 and not whole.settles
    engine = ImageSearch(archive, DEMO, **more)  # the same index, whose scene is cut now
    assert len(engine) == 3 + 18 * 17  # half a part of 32 pixels apart, the last at the border
    for k in (1, 4):
        first = engine(query, k=k)[0]
        assert first.path.endswith('scene.jpg') and first.score > 0.99
        assert first.record.window == (90, 150, 32, 32)
        assert len(engine(query, k=k)) == k
    key = 'scene.jpg#90,150,32,32'  # a place that is not in the index can be asked for, too
    assert engine(key, k=1)[0].record.key == key and engine.query_picture(key).shape == (32, 32, 3)
    np.testing.assert_allclose(
        engine.picture(first.record).astype(int), np.asarray(Image.open(query)), atol=40
    )
    # later, only what may be a scene is looked into
    looked = []
    shape = scene_parts.picture_shape
    monkeypatch.setattr(
        'rs_mm.datasets.scene_archive.picture_shape',
        lambda path: looked.append(path) or shape(path),
    )
    again = ImageSearch(archive, DEMO, **more)
    assert again.update.added == 0 and [path[-9:] for path in looked] == ['scene.jpg']
    with pytest.raises(ConfigError, match='stride 8: give the size of the tiles'):
        ImageSearch(archive, DEMO, stride=8, **more)


def test_a_picture_is_a_scene_from_four_times_the_input_on():
    assert scene_parts.part_size((895, 896), 224) is None
    assert scene_parts.part_size((896, 896), 224) == (224, 112)
    assert scene_parts.part_size((200, 8000), 224) == (224, 112)
    assert scene_parts.part_size((9000, 9000), 0) is None  # nothing is reduced
    side, stride = scene_parts.part_size((14000, 13500), 64)
    assert len(cut((14000, 13500), side, stride)) < 1.2 * scene_parts.MOST


def test_a_header_tells_the_shape_that_is_seen(tmp_path):
    image = Image.new('RGB', (30, 20))
    exif = image.getexif()
    exif[274] = 6
    image.save(tmp_path / 'a.jpg', exif=exif)
    write(tmp_path / 'b.tif', np.zeros((7, 11, 13), np.uint16))
    (tmp_path / 'c.png').write_text('no picture')
    assert [scene_parts.picture_shape(tmp_path / n) for n in ('a.jpg', 'b.tif', 'c.png')] == [
        (30, 20),
        (11, 13),
        None,
    ]


def test_the_side_that_a_model_sees_is_found_by_trying(tmp_path):
    Image.new('RGB', (200, 100)).save(tmp_path / 'a.png')
    for see, side in ((lambda img: (24, 32), 32), (lambda img: img.shape[:2], 0)):
        assert scene_parts.model_side(tmp_path / 'a.png', see, True) == side
