"""From files to maps: what daily rasters hold, and what becomes of it."""

import csv

import numpy as np
import pytest
import torch
from affine import Affine
from mmengine.config import Config

rasterio = pytest.importorskip('rasterio', reason='the extra geo is not installed')

from rs_mm.apis.change.detector import ChangeDetector  # noqa: E402
from rs_mm.apis.change.files import identity, predict_files  # noqa: E402
from rs_mm.apis.change.folders import check_before, find_pairs, predict_pairs  # noqa: E402
from rs_mm.apis.change.outputs import OutputOptions  # noqa: E402
from rs_mm.errors import ConfigError, DataError, MissingFileError  # noqa: E402
from tests.rasters.files import UTM, smooth, write  # noqa: E402
from tests.toy_change import toy_model_config  # noqa: E402

PIPELINE = [dict(type='MultiImgLoadImageFromFile'), dict(type='MultiImgPackSegInputs')]
DEEP = [dict(type='MultiImgLoadTiff'), dict(type='MultiImgPackSegInputs')]


def detector(pipeline=PIPELINE, sensitive=False, **kwargs):
    """A model that calls pixels changed where the dates differ much."""
    cfg = dict(
        default_scope='rs_mm',
        model=toy_model_config(),
        test_dataloader=dict(dataset=dict(pipeline=pipeline)),
    )
    found = ChangeDetector(Config(cfg), device='cpu', **kwargs)
    with torch.no_grad():
        found.model.conv.weight.zero_()
        found.model.conv.weight[1] = 0.1
        found.model.conv.bias.copy_(torch.tensor([1.0, 0.0]))
    return found


def scene(height=200, width=260):
    """Two dates, a block of which differs."""
    first, second = smooth(height, width), smooth(height, width)
    second[60:120, 80:150] = 255 - second[60:120, 80:150]
    return first, second


def pair(tmp_path, images=None, first=None, second=None, name='tif', **both):
    images = scene() if images is None else images
    return [
        write(tmp_path / f'{n}.{name}', image, **(UTM | both | (given or {})))
        for n, image, given in zip('ab', images, (first, second))
    ]


def predict(tmp_path, paths, found=None, **kwargs):
    result = predict_files(found or detector(), *paths, tmp_path / 'out', **kwargs)
    with rasterio.open(result.written[0]) as file:
        return file.read(1), result


def test_a_georeferenced_map(tmp_path):
    options = OutputOptions('float32', '.gpkg')
    mask, result = predict(tmp_path, pair(tmp_path), options=options)
    names = [path.name for path in result.written]
    assert names == [
        'a_b_change.tif', 'a_b_probability.tif', 'a_b_change.gpkg', 'a_b_picture.png'
    ]  # fmt: skip
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == sorted(names)
    with rasterio.open(result.written[0]) as file:
        assert file.crs.to_epsg() == 32650 and file.transform == UTM['transform']
        assert file.nodata == 127 and file.tags()['CONFIG'] == 'config'
        assert {'CHECKPOINT_SHA256', 'DATE_1', 'MODEL', 'PREDICTED'} <= file.tags().keys()
    with rasterio.open(result.written[1]) as file:
        probability = file.read(1)
        assert file.nodata == -1
    np.testing.assert_array_equal(mask, np.where(probability > 0.5, 255, 0))
    changed = (mask == 255).sum()
    assert 3000 < changed < 5000
    assert result.summary.changed_area_m2 == changed * 100
    geopandas = pytest.importorskip('geopandas')
    table = geopandas.read_file(result.written[2])
    assert table['area_m2'].sum() == pytest.approx(changed * 100, rel=1e-3)
    assert table.crs.to_epsg() == 32650 and (table['mean_probability'] > 0.5).all()


@pytest.mark.parametrize('value, dtype', [(-9999, 'f4'), (0, 'u2'), (np.nan, 'f4')])
def test_nodata_of_one_date_or_both(tmp_path, value, dtype):
    """The mask beside a border without data is that of the pair without the border."""
    images = [image.astype(dtype) * 10 + 300 for image in scene()]
    expected, _ = predict(tmp_path, pair(tmp_path, images))
    images[0][:30], images[1][:, :20] = value, value
    nodata = {} if np.isnan(value) else dict(nodata=value)
    mask, result = predict(tmp_path, pair(tmp_path, images, **nodata))
    hole = np.zeros(mask.shape, bool)
    hole[:30], hole[:, :20] = True, True
    np.testing.assert_array_equal(mask == 127, hole)
    assert (mask[~hole] != expected[~hole]).mean() < 0.01
    assert result.summary.valid_share == pytest.approx((~hole).mean())
    assert result.summary.changed_share == pytest.approx((mask[~hole] == 255).mean())


def test_a_pair_without_common_data_is_refused(tmp_path):
    images = [np.full((50, 60, 3), np.nan, 'f4'), np.ones((50, 60, 3), 'f4')]
    with pytest.raises(DataError, match='date 1 holds no data'):
        predict(tmp_path, pair(tmp_path, images))
    assert not list((tmp_path / 'out').glob('*'))


def test_dates_on_other_grids(tmp_path):
    turned = dict(transform=UTM['transform'] @ Affine.rotation(10))
    for second, reason in (
        (dict(crs='EPSG:32651'), 'EPSG:32650 and .*EPSG:32651'),
        (turned, 'turned by 0 degrees and .*by -?10'),
    ):
        with pytest.raises(DataError, match=f'{reason}.*--align resample'):
            predict(tmp_path, pair(tmp_path, second=second))
    first, second = scene()
    fine = np.repeat(np.repeat(second, 2, 0), 2, 1)[:, 40:]
    half = dict(transform=UTM['transform'] @ Affine.translation(20, 0) @ Affine.scale(0.5))
    mask, _ = predict(tmp_path, pair(tmp_path, (first, fine), second=half), align='resample')
    assert mask.shape == (200, 260) and (mask[:, :19] == 127).all()
    assert (mask[70:110, 90:140] == 255).mean() > 0.5 and (mask[:50, 30:] == 255).mean() < 0.05


@pytest.mark.parametrize('bands', [4, 6])
def test_a_model_of_other_bands(tmp_path, bands):
    images = [smooth(60, 70, bands).astype('u2') * 20 for _ in range(2)]
    images[1][20:40, 20:40] += 900
    found = detector(DEEP)
    seen = []

    def test_step(batch):
        seen.extend(batch['inputs'])
        raise KeyboardInterrupt

    found.model.test_step = test_step
    paths = pair(tmp_path, images)
    with pytest.raises(KeyboardInterrupt):
        predict_files(found, *paths, tmp_path / 'out')
    assert seen[0].shape == (2 * bands, 60, 70)
    wanted = np.concatenate([image.transpose(2, 0, 1) for image in images])
    np.testing.assert_array_equal(seen[0].numpy(), wanted)
    with pytest.raises(KeyboardInterrupt):
        predict_files(found, *paths, tmp_path / 'out', bands=[2, 0])
    assert seen[1].shape[0] == 4


@pytest.mark.parametrize('driver, name', [('JP2OpenJPEG', 'jp2'), ('ENVI', 'dat'), ('HFA', 'img')])
def test_formats_of_other_programs(tmp_path, driver, name):
    expected, _ = predict(tmp_path, pair(tmp_path))
    options = dict(quality='100', reversible='yes') if name == 'jp2' else {}
    profile = dict(driver=driver, photometric=None, **options)
    (tmp_path / 'x').mkdir()
    paths = pair(tmp_path / 'x', name=name, **profile)
    mask, result = predict(tmp_path / 'x', paths)
    np.testing.assert_array_equal(mask, expected)
    assert result.written[0].suffix == '.tif'


def test_tiles_and_seams(tmp_path):
    """The map depends on the tiles by less than the share that is stated in the docs."""
    paths = pair(tmp_path)
    whole, _ = predict(tmp_path, paths)
    tiled, result = predict(tmp_path, paths, detector(tile=96, overlap=32))
    assert (tiled != whole).mean() < 1e-3
    assert result.times.model > 0 and 'model' in result.times.shares()


def test_resume_is_exact(tmp_path):
    paths, kwargs = pair(tmp_path), dict(tile=96, overlap=32)
    expected, _ = predict(tmp_path, paths, detector(**kwargs), options=OutputOptions('float32'))
    before = rasterio.open(tmp_path / 'out/a_b_probability.tif').read(1)
    found, calls = detector(**kwargs), []
    step = found.model.test_step

    def stopping(batch):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return step(batch)

    found.model.test_step = stopping
    with pytest.raises(KeyboardInterrupt):
        predict(tmp_path, paths, found, options=OutputOptions('float32'))
    calls.clear()
    calls.extend([1] * 10)
    mask, _ = predict(tmp_path, paths, found, options=OutputOptions('float32'), resume=True)
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_array_equal(
        rasterio.open(tmp_path / 'out/a_b_probability.tif').read(1), before
    )
    total = len(range(0, 200 - 32, 64)) * len(range(0, 260 - 32, 64))
    assert len(calls) - 10 == total - 4
    assert not list((tmp_path / 'out').glob('.*'))


def test_plain_pictures_and_cog(tmp_path):
    from PIL import Image

    for name, image in zip('ab', scene()):
        alpha = np.full(image.shape[:2], 255, np.uint8)
        alpha[:10] = 0
        Image.fromarray(np.dstack([image, alpha])).save(tmp_path / f'{name}.png')
    paths = [tmp_path / 'a.png', tmp_path / 'b.png']
    mask, result = predict(tmp_path, paths)
    assert result.written[0].name == 'a_b_change.png'
    assert (np.asarray(Image.open(result.written[0])) == mask).all() and (mask[:10] == 127).all()
    mask, result = predict(tmp_path, paths, options=OutputOptions('uint8', cog=True))
    with rasterio.open(result.written[1]) as file:
        values = file.read(1)
        assert file.tags(ns='IMAGE_STRUCTURE')['LAYOUT'] == 'COG' and file.nodata == 255
        sure = values[10:] != 125
        np.testing.assert_array_equal((values[10:] > 125)[sure], (mask[10:] == 255)[sure])
        assert file.scales == (1 / 250,)


def test_several_classes_of_change(tmp_path):
    found = detector()
    found.classes, found.palette = ('same', 'new', 'gone'), [(0, 0, 0), (255, 0, 0), (0, 0, 255)]
    found.model.conv = torch.nn.Conv2d(3, 3, 3, padding=1)
    images = [image.astype('f4') for image in scene()]
    images[0][:5] = np.nan
    options = OutputOptions(polygons='.gpkg')
    mask, result = predict(tmp_path, pair(tmp_path, images), found, options=options)
    assert (mask[:5] == 255).all() and set(np.unique(mask[5:])) <= {0, 1, 2}
    with rasterio.open(result.written[0]) as file:
        assert file.nodata == 255 and file.colormap(1)[2][:3] == (0, 0, 255)
        assert file.tags(1)['class_1'] == 'new'
    table = pytest.importorskip('geopandas').read_file(result.written[1])
    assert set(table['class']) == set(np.unique(mask[5:])) - {0}
    assert len(table) == result.summary.patches
    assert result.summary.largest[0].pixels == table.pixels.max()


def folders(tmp_path, names=('x.tif', 'sub/x.tif', 'y.TIF')):
    for name in names:
        for folder, image in zip('AB', scene(100, 110)):
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, image, **UTM)
    return tmp_path / 'A', tmp_path / 'B'


def run_folders(tmp_path, first, second, found=None, **kwargs):
    found, calls = found or detector(), []

    def one(given):
        calls.append(given.name)
        return predict_files(found, given.first, given.second, tmp_path / 'out', stem=given.name)

    failed = predict_pairs(
        find_pairs(first, second),
        tmp_path / 'out',
        one,
        lambda given: identity(found, given.first, given.second, None, None, 'none'),
        OutputOptions(),
        **kwargs,
    )
    with (tmp_path / 'out/summary.csv').open(newline='') as file:
        return failed, calls, {row['pair']: row for row in csv.DictReader(file)}


def test_folders(tmp_path):
    """A damaged pair costs itself alone; finished ones are not repeated."""
    first, second = folders(tmp_path)
    (second / 'y.TIF').rename(second / 'y.tif')
    (second / 'sub/x.tif').write_text('no image')
    failed, calls, rows = run_folders(tmp_path, first, second)
    assert failed == 1 and calls == ['sub/x', 'x', 'y']
    assert [rows[name]['status'] for name in calls] == ['failed', 'done', 'done']
    assert 'sub/x.tif' in rows['sub/x']['reason'] and 0 < float(rows['x']['changed_share']) < 1
    assert (tmp_path / 'out/x_change.tif').is_file()
    write(second / 'sub/x.tif', scene(100, 110)[1], **UTM)
    failed, calls, rows = run_folders(tmp_path, first, second)
    assert failed == 0 and calls == ['sub/x']
    assert (tmp_path / 'out/sub/x_change.tif').is_file()
    assert run_folders(tmp_path, first, second)[1] == []
    assert len(run_folders(tmp_path, first, second, overwrite=True)[1]) == 3
    assert len(run_folders(tmp_path, first, second, detector(threshold=0.7))[1]) == 3


def test_pairs_of_names(tmp_path):
    first, _ = folders(tmp_path, ('p_2009.tif', 'p_2018.TIF', 'q_2009.tif', 'q_2018.tif'))
    found = find_pairs(first, first, '*_2009.tif', '*_2018.tif')
    assert [(p.name, p.first.name, p.second.name) for p in found] == [
        ('p', 'p_2009.tif', 'p_2018.TIF'),
        ('q', 'q_2009.tif', 'q_2018.tif'),
    ]
    (first / 'q_2018.tif').unlink()
    with pytest.raises(DataError, match=r'q_2009.tif is not in .* \(1 such file'):
        find_pairs(first, first, '*_2009.tif', '*_2018.tif')
    with pytest.raises(ConfigError, match=r'needs one \*'):
        find_pairs(first, first, 'p_2009.tif')
    write(first / 'p_2009.TIF', scene(100, 110)[0], **UTM)
    with pytest.raises(DataError, match='one name up to the case'):
        find_pairs(first, first)
    a, b = folders(tmp_path / 'new', ('s.tif', 's.png'))
    assert [p.name for p in find_pairs(a, b)] == ['s_png', 's_tif']
    with pytest.raises(MissingFileError, match='nowhere'):
        find_pairs(tmp_path / 'nowhere', b)


def test_what_is_found_before_torch(tmp_path):
    paths = pair(tmp_path, [image[:20, :20] for image in scene()])
    found = find_pairs(*paths)
    config = tmp_path / 'c.py'
    config.touch()
    (tmp_path / 'file').touch()
    for arguments, reason in (
        ((tmp_path / 'no.py', None, tmp_path), 'no config'),
        (('dsqnet_swin_demo', tmp_path / 'no.pth', tmp_path), 'no checkpoint'),  # a config's name
        ((config, tmp_path / 'no.pth', tmp_path), 'no checkpoint'),
        ((config, None, tmp_path / 'file'), 'is a file'),
        ((config, None, tmp_path / 'change.tif'), 'must be a folder'),
    ):
        with pytest.raises((ConfigError, MissingFileError), match=reason):
            check_before(found, *arguments, OutputOptions())
    with pytest.raises(ConfigError, match='.gpkg'):
        check_before(found, config, None, tmp_path, OutputOptions(polygons='a.shp'))
    with pytest.raises(ConfigError, match='one file per pair'):
        check_before(found * 2, config, None, tmp_path, OutputOptions(polygons='a.gpkg'))
    paths[1].write_text('no image')
    with pytest.raises(DataError, match='b.tif: GDAL cannot read this image'):
        check_before(found, config, None, tmp_path, OutputOptions())


@pytest.mark.parametrize(
    'folder, files',
    [
        ('naip', ('m_4709963_se_14_1_20090818.tif', 'm_4709963_se_14_1_20180716.tif')),
        ('landsat', ('1985.tif', '2020.tif')),
    ],
)
def test_real_geotiffs(samples, tmp_path, folder, files):
    geopandas = pytest.importorskip('geopandas')
    paths = [samples / folder / file for file in files]
    mask, result = predict(
        tmp_path, paths, align='resample', options=OutputOptions('float32', '.gpkg')
    )
    with rasterio.open(result.written[0]) as out, rasterio.open(paths[0]) as first:
        assert (out.crs, out.transform, out.shape) == (first.crs, first.transform, first.shape)
        assert out.overviews(1) and out.nodata == 127 and out.tags(1)['class_255'] == 'changed'
        assert out.descriptions == ('change',) and out.colormap(1)[255] == (255, 255, 255, 255)
        place = out.crs, out.transform, out.shape
    with rasterio.open(result.written[1]) as out:
        probability = out.read(1)
        assert (out.crs, out.transform, out.shape) == place and out.overviews(1)
        np.testing.assert_array_equal(probability == out.nodata, mask == 127)
        np.testing.assert_array_equal(probability > 0.5, mask == 255)
    assert result.written[3].stat().st_size > 50_000
    assert (mask[1:-1, 1:-1] != 127).mean() > 0.99
    table = geopandas.read_file(result.written[2])
    assert table['pixels'].sum() == (mask == 255).sum()
    assert table['area_m2'].sum() == pytest.approx(result.summary.changed_area_m2, rel=1e-6)
    # the ellipsoid's area of the polygons is that of the pixels
    area = abs(table.to_crs(6933).area.sum())
    assert area == pytest.approx(result.summary.changed_area_m2, rel=3e-3)


def test_a_full_disk_keeps_what_is_finished(tmp_path, monkeypatch):
    """One sentence, nothing under a final name, and --resume goes on."""
    from rs_mm.apis.change import outputs

    paths, found = pair(tmp_path), detector(tile=96, overlap=32)

    def full(path, *args):
        raise DataError(f'{path} cannot be written: the disk is full.')

    with monkeypatch.context() as patched:
        patched.setattr(outputs, 'write_raster', full)
        with pytest.raises(DataError, match=r'the disk is full. The finished tiles .*--resume'):
            predict(tmp_path, paths, found)
        assert [p.name for p in (tmp_path / 'out').iterdir()] == ['.a_b.unfinished']
        with pytest.raises(DataError, match='the disk is full.$'):
            predict(tmp_path, paths, detector())
        assert not list((tmp_path / 'out').iterdir())
    monkeypatch.setattr('shutil.disk_usage', lambda place: type('Usage', (), dict(free=10)))
    with pytest.raises(DataError, match='GB are free'):
        check_before(find_pairs(*paths), __file__, None, tmp_path / 'out', OutputOptions())
