import os
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from rs_mm.datasets import ImageArchive, PatternNet, XView2CIR
from rs_mm.datasets.fake.patternnet import CLASSES, make_patternnet
from rs_mm.datasets.patterncom import ATTRIBUTES, PatternCom
from rs_mm.datasets.transforms.clip_images import LoadRGBImage
from rs_mm.datasets.xview2_cir import HEADER, read_list
from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.rasters import to_uint8
from tests.weicom_toy import PIPELINE


def picture(height=40, width=50):
    return np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)


def load(path, **kwargs):
    return LoadRGBImage(**kwargs).transform(dict(img_path=str(path)))['img']


@pytest.mark.parametrize('suffix', ['png', 'bmp', 'tif', 'webp', 'jpg', 'gif', 'ppm', 'jp2'])
def test_any_format_is_read_as_rgb(tmp_path, suffix):
    image = np.zeros((40, 50, 3), np.uint8)
    image[:, :25] = 200, 30, 60
    Image.fromarray(image).save(tmp_path / f'x.{suffix}')
    read = load(tmp_path / f'x.{suffix}')
    assert read.dtype == np.uint8 and read.shape == (40, 50, 3)
    assert np.abs(read[:, :20].astype(int) - (200, 30, 60)).max() < 12


@pytest.mark.parametrize('mode', ['L', 'RGBA', 'P', '1', 'LA'])
def test_any_mode_is_read_as_rgb(tmp_path, mode):
    Image.fromarray(picture()).convert(mode).save(tmp_path / 'x.png')
    assert load(tmp_path / 'x.png').shape == (40, 50, 3)


def test_a_geotiff_of_many_bands_is_stretched(tmp_path):
    bands = np.random.default_rng(0).normal(3000, 400, (30, 20, 5)).astype(np.uint16)
    tifffile.imwrite(tmp_path / 'x.tif', bands, photometric='minisblack', planarconfig='contig')
    read = load(tmp_path / 'x.tif', bands=(4, 0, 2))
    assert read.shape == (30, 20, 3)
    np.testing.assert_array_equal(read, to_uint8(bands)[..., [4, 0, 2]])
    with pytest.raises(DataError, match='has bands 0 to 4, but band 9 was asked for'):
        load(tmp_path / 'x.tif', bands=(0, 1, 9))
    with pytest.raises(ConfigError, match='must be three numbers'):
        LoadRGBImage(bands=(1, 2))


def test_a_tiff_of_one_band_is_grey(tmp_path):
    tifffile.imwrite(tmp_path / 'x.tif', picture()[..., 0])  # tifffile: black is zero
    read = load(tmp_path / 'x.tif')
    assert (read == picture()[..., :1]).all()


def test_real_geotiffs(samples):
    for path in [*(samples / 'naip').glob('*.tif'), *(samples / 'landsat').glob('*.tif')]:
        image = load(path)
        assert image.dtype == np.uint8 and image.shape[2] == 3
        assert 20 < image.mean() < 235


@pytest.mark.parametrize('value, nodata', [(np.nan, None), (np.inf, None), (-9999, -9999)])
def test_pixels_without_data_are_refused_or_filled(tmp_path, value, nodata):
    """They take no part in the stretch either."""
    image = np.linspace(0, 1, 1200).reshape(20, 20, 3).astype(np.float32)
    tags = [] if nodata is None else [(42113, 's', 0, str(nodata), True)]
    options = dict(photometric='rgb', extratags=tags, metadata=None)
    whole = to_uint8(image[4:])
    image[:4] = value
    tifffile.imwrite(tmp_path / 'x.tif', image, **options)
    with pytest.raises(DataError, match=r'x.tif: 20.00% of its pixels .*`fill` of LoadRGBImage'):
        load(tmp_path / 'x.tif')
    out = load(tmp_path / 'x.tif', fill=7)
    assert (out[:4] == 7).all()
    np.testing.assert_array_equal(out[4:], whole)
    image[:] = value
    tifffile.imwrite(tmp_path / 'x.tif', image, **options)
    with pytest.raises(DataError, match='no pixel holds data'):
        load(tmp_path / 'x.tif', fill=7)


def test_an_archive_lists_every_image_below_it(tmp_path):
    (tmp_path / 'deep').mkdir()
    for name in ('b.PNG', 'deep/a.jpg'):
        Image.fromarray(picture()).save(tmp_path / name)
    (tmp_path / 'notes.txt').write_text('no image')
    data = ImageArchive(str(tmp_path), PIPELINE)
    assert data.names() == ['b.PNG', 'deep/a.jpg']
    sample = data[1]
    assert sample['inputs'].shape == (3, 32, 32) and sample['inputs'].dtype == torch.float32
    assert sample['data_samples'].sample_idx == 1
    assert sample['data_samples'].img_path == str(tmp_path / 'deep/a.jpg')
    name, size, changed = data.files()[0]
    assert (name, size) == ('b.PNG', os.path.getsize(tmp_path / 'b.PNG'))


def test_links_lead_to_every_image_once(tmp_path, monkeypatch):
    root, outside = tmp_path / 'archive', tmp_path / 'outside'
    for folder in (root / 'sub', outside):
        folder.mkdir(parents=True)
    for path in (root / 'a.png', root / 'sub/b.png', outside / 'c.png', outside / 'd.png'):
        Image.fromarray(picture()).save(path)
    (root / 'sub/loop').symlink_to('..')
    (root / '0_other_way').symlink_to(root / 'sub')
    (root / 'again.png').symlink_to(root / 'a.png')
    (root / 'linked').symlink_to(outside)
    (outside / 'back').symlink_to(root)
    (root / 'one.png').symlink_to(outside / 'd.png')
    (root / 'gone.png').symlink_to(outside / 'nothing.png')
    names = ImageArchive(str(root), PIPELINE).names()
    assert names == ['a.png', 'gone.png', 'linked/c.png', 'linked/d.png', 'sub/b.png']
    monkeypatch.chdir(tmp_path)
    info = ImageArchive('archive', PIPELINE).get_data_info(0)
    assert info['img_path'] == str(root / 'a.png')


def test_an_unreadable_image_does_not_end_the_work(tmp_path):
    (tmp_path / 'x.jpg').write_bytes(b'no image')
    (tmp_path / 'y.tif').write_bytes(b'II*\0garbage')
    Image.fromarray(picture()).save(tmp_path / 'cut.png')
    (tmp_path / 'cut.png').write_bytes((tmp_path / 'cut.png').read_bytes()[:300])
    data = ImageArchive(str(tmp_path), PIPELINE)
    for i, name in enumerate(['cut.png', 'x.jpg', 'y.tif']):
        sample = data[i]
        assert sample['inputs'] is None
        assert name in sample['data_samples'].unreadable
        assert re.search(
            'cannot be decoded|GDAL cannot read this image|ends too early|cannot be opened',
            sample['data_samples'].unreadable,
        )


def test_an_empty_or_missing_archive(tmp_path):
    with pytest.raises(DataError, match='is an empty archive: no file below it has one of'):
        ImageArchive(str(tmp_path), PIPELINE)
    with pytest.raises(MissingFileError, match='there is no folder .*nowhere to search in'):
        ImageArchive(str(tmp_path / 'nowhere'), PIPELINE)


def test_patternnet_in_its_layout(tmp_path):
    make_patternnet(tmp_path, images_per_class=3, size=40)
    data = PatternNet(str(tmp_path), pipeline=PIPELINE)
    assert len(data) == 3 * len(CLASSES)
    info = data.get_data_info(0)
    assert info['class_name'] == 'airplane' and info['name'] == 'images/airplane/airplane001.jpg'
    assert data[0]['inputs'].shape == (3, 32, 32)
    folders = PatternNet(str(tmp_path), ann_file=None, pipeline=PIPELINE)
    assert folders.names() == data.names()
    assert folders.get_data_info(0)['class_name'] == 'airplane'
    queries = PatternCom(tmp_path / 'PatternCom', ATTRIBUTES)
    sets = queries.query_sets([os.path.basename(name) for name in data.names()])
    assert [queries.name for queries in sets] == list(ATTRIBUTES)
    assert all(len(queries) and all(len(a) for a in queries.answers) for queries in sets)


def test_patternnet_reports_the_line(tmp_path):
    listed = tmp_path / 'patternnet.csv'
    with pytest.raises(MissingFileError, match='no list .*patternnet.csv: put'):
        PatternNet(str(tmp_path))
    listed.write_text('a/b.jpg 0 a\n\n')
    with pytest.raises(DataError, match='patternnet.csv, line 2: expected "path number class"'):
        PatternNet(str(tmp_path))
    listed.write_text('')
    with pytest.raises(DataError, match='lists no image'):
        PatternNet(str(tmp_path))
    listed.write_text('a/b.jpg 0 a\n')
    data = PatternNet(str(tmp_path), pipeline=PIPELINE)
    assert data.files() == [('a/b.jpg', -1, -1)]
    assert 'no such image' in data[0]['data_samples'].unreadable


def test_xview2_list_is_packed():
    data = XView2CIR()
    assert len(data) == 291
    counts = {}
    for row in data.rows:
        counts[row.event] = counts.get(row.event, 0) + 1
    assert counts == dict(hurricane=147, fire=98, flood=28, tsunami=9, earthquake=5, volcano=4)
    every = XView2CIR('all')
    assert set(data.prompts) < set(every.prompts) and len(every[0]['prompts']) == 3
    assert XView2CIR('alt2').prompts != data.prompts and len(data.prompts) == 6
    assert data[0]['prompts'] == ['post earthquake']
    assert data[0]['target'].endswith('_post_disaster.tif')


def test_xview2_queries():
    data = XView2CIR('alt1')
    names = [os.path.basename(path) for row in data.rows[:7] for path in (row.image, row.target)]
    with pytest.warns(UserWarning, match='284 of 291 rows name an image the archive lacks'):
        sets = data.query_sets(names)
    asked = {}
    for queries in sets:
        for image, text, group in zip(queries.images, queries.texts, queries.groups):
            answer = queries.answers[group].tolist()
            asked[int(image)] = (queries.prompts[text], answer)
    assert asked == {2 * i: (data.rows[i].texts[1], [2 * i + 1]) for i in range(7)}
    with pytest.warns(UserWarning):
        every = XView2CIR('all').query_sets(names)
    assert len(every) == 3 * len(sets) and every[1].name == f'{sets[0].name}, alt1'
    assert every[1].prompts == sets[0].prompts != every[0].prompts
    with pytest.raises(DataError, match='none of its 291 pairs'):
        data.query_sets(['x.tif'])


def test_xview2_refuses_an_archive_with_a_name_twice():
    row = XView2CIR().rows[0]
    names = [Path(row.image).name, Path(row.target).name]
    with pytest.raises(DataError, match=f'several images named {names[1]}'):
        XView2CIR().query_sets([*names, names[1]])


def test_xview2_reports_the_line(tmp_path):
    path = tmp_path / 'list.csv'
    path.write_text(','.join(HEADER) + '\na.tif,x,y,z,b.tif\na.tif,x,y,,b.tif\n')
    with pytest.raises(DataError, match='list.csv, line 3: expected 5 filled fields'):
        read_list(path)
    path.write_text('image,text\n')
    with pytest.raises(DataError, match='line 1: expected the header "image,query_default'):
        read_list(path)
    with pytest.raises(MissingFileError, match='no list'):
        read_list(tmp_path / 'none.csv')
    with pytest.raises(ConfigError, match='choose one of default, alt1, alt2'):
        XView2CIR('alt3')


def test_a_scene_that_is_reduced_is_told_once(tmp_path, monkeypatch):
    for name in ('a', 'b'):
        Image.fromarray(picture(300, 400)).save(tmp_path / f'{name}.png')
    said = []
    monkeypatch.setattr(
        'rs_mm.datasets.image_archive.print_log', lambda text, *_, **__: said.append(text)
    )
    archive = ImageArchive(str(tmp_path), PIPELINE)
    side = archive[0]['inputs'].shape[-1]
    assert archive[1]['inputs'] is not None and len(said) == 1
    assert f'a.png is 400 x 300 pixels and is reduced to {side}' in said[0]
