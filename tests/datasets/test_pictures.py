"""A picture is what its file describes, for every reader alike, or the file is refused by name."""

import struct
import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from rs_mm.datasets import pictures
from rs_mm.datasets.pictures import read_picture, read_rgb, read_valid
from rs_mm.datasets.transforms import LoadBandImage, LoadRGBImage
from rs_mm.errors import ConfigError, DataError
from rs_mm.rasters import has_rasterio
from rs_mm.registry import TRANSFORMS

READERS = {
    'few-shot': read_rgb,
    'multi-label': lambda path: LoadBandImage(num_bands=3)(dict(img_path=str(path)))['img'],
    'archive': lambda path: LoadRGBImage()(dict(img_path=str(path)))['img'],
    'change': lambda path: dates('MultiImgLoadImageFromFile', path)['img'][0][..., ::-1],
    'change, any bands': lambda path: three(dates('MultiImgLoadTiff', path)['img'][0]),
}
needs_rasterio = pytest.mark.skipif(not has_rasterio(), reason='needs rasterio (rs_mm[geo])')


def dates(kind, path, **options):
    step = TRANSFORMS.build(dict(type=f'rs_mm.{kind}', **options))
    return step(dict(img_path=[str(path), str(path)]))


def three(image):
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def scene(height=24, width=31):
    """A smooth picture without symmetry."""
    low = np.random.default_rng(5).integers(0, 255, (4, 5, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(low).resize((width, height), Image.BICUBIC))


def deep_png(path, array):
    """Pillow writes no 16-bit colour PNG."""
    rows = b''.join(b'\0' + row.astype('>u2').tobytes() for row in array)

    def chunk(kind, data):
        check = struct.pack('>I', zlib.crc32(kind + data))
        return struct.pack('>I', len(data)) + kind + data + check

    head = struct.pack('>IIBBBBB', array.shape[1], array.shape[0], 16, 2, 0, 0, 0)
    parts = chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b'')
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + parts)


def palette(folder, suffix):
    image = Image.fromarray(scene()).quantize(64)
    image.save(folder / f'x.{suffix}')
    return folder / f'x.{suffix}', np.asarray(image.convert('RGB'))


def white_is_zero(folder, suffix):
    grey = scene()[..., 0]
    tifffile.imwrite(folder / 'x.tif', 255 - grey, photometric='miniswhite')
    return folder / 'x.tif', three(grey[..., None])


def one_bit(folder, suffix):
    mask = scene()[..., 0] > 127
    if suffix == 'tif':  # Pillow: 0 is black
        Image.fromarray(mask).save(folder / 'x.tif')
    else:
        Image.fromarray(mask).save(folder / f'x.{suffix}')
    return folder / f'x.{suffix}', three(mask[..., None].astype(np.uint8) * 255)


def preview_first(folder, suffix):
    with tifffile.TiffWriter(folder / 'x.tif') as file:
        file.write(np.ascontiguousarray(scene()[::2, ::2]), photometric='rgb', subfiletype=1)
        file.write(scene(), photometric='rgb')
    return folder / 'x.tif', scene()


def opaque(folder, suffix):
    alpha = np.full((*scene().shape[:2], 1), 255, np.uint8)
    Image.fromarray(np.concatenate([scene(), alpha], 2)).save(folder / f'x.{suffix}')
    return folder / f'x.{suffix}', scene()


def turned(folder, suffix):
    exif = Image.Exif()
    exif[0x112] = 6  # the first row is the right-hand side
    Image.fromarray(scene()).save(folder / f'x.{suffix}', exif=exif, lossless=True)
    return folder / f'x.{suffix}', np.rot90(scene(), -1)


KINDS = [
    (palette, 'tif', True),
    (palette, 'png', True),
    (palette, 'gif', True),
    (white_is_zero, 'tif', False),
    (one_bit, 'png', False),
    (one_bit, 'bmp', False),
    (preview_first, 'tif', False),
    (opaque, 'png', False),
    (opaque, 'tif', False),
    (turned, 'tif', False),
    (turned, 'png', False),
    (turned, 'webp', False),
]


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize('make, suffix, geo', KINDS)
def test_tags_are_applied_by_every_reader(tmp_path, reader, make, suffix, geo):
    if geo and not has_rasterio():
        pytest.skip('needs rasterio (rs_mm[geo])')
    path, expected = make(tmp_path, suffix)
    np.testing.assert_array_equal(READERS[reader](path), expected)


@pytest.mark.parametrize('reader', READERS)
def test_a_turned_jpeg_is_upright(tmp_path, reader):
    path, expected = turned(tmp_path, 'jpg')
    found = READERS[reader](path)
    assert found.shape == expected.shape and np.abs(found.astype(int) - expected).mean() < 8


def bands_as_pages(path):
    tifffile.imwrite(
        path, np.ascontiguousarray(scene().transpose(2, 0, 1)), photometric='minisblack'
    )
    return '3 pages'


def rows_as_pages(path):
    tifffile.imwrite(path, np.zeros((24, 31, 7), np.uint16), photometric='minisblack')
    return '24 pages'


def complex_numbers(path):
    tifffile.imwrite(path, scene()[..., 0].astype(np.complex64))
    return 'complex'


def animation(path):
    frames = [Image.fromarray(scene()), Image.fromarray(scene()[::-1])]
    frames[0].save(path.with_suffix('.gif'), save_all=True, append_images=frames[1:])
    path.write_bytes(b'')
    return '2 frames'


def test_the_largest_value_of_a_netpbm_is_that_of_its_type(tmp_path):
    (tmp_path / 'x.pgm').write_bytes(b'P5\n# of a camera\n3 2\n15\n' + bytes(range(6)))
    with pytest.raises(DataError, match='largest value is stated as 15'):
        read_picture(tmp_path / 'x.pgm')


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize('make', [bands_as_pages, rows_as_pages, complex_numbers, animation])
def test_what_is_not_one_picture_is_refused_by_name(tmp_path, reader, make):
    words = make(tmp_path / 'x.tif')
    path = tmp_path / ('x.gif' if make is animation else 'x.tif')
    with pytest.raises(DataError, match=f'{path.name}.*{words}'):
        READERS[reader](path)


@pytest.mark.parametrize('reader', READERS)
@pytest.mark.parametrize('suffix', ['png', 'jpg', 'bmp', 'webp', 'gif', 'tif', 'jp2', 'ppm'])
def test_a_half_copied_file_is_an_error_in_every_reader(tmp_path, reader, suffix):
    if suffix in ('webp', 'gif', 'jp2', 'ppm') and not has_rasterio():
        pytest.skip('needs rasterio (rs_mm[geo])')
    path = tmp_path / f'x.{suffix}'
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(path)
    READERS[reader](path)
    content = path.read_bytes()
    for share in (0.5, 0.95):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(DataError, match=f'x.{suffix}'):
            READERS[reader](path)


def test_a_damaged_chunk_of_a_png_is_an_error(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint16) * 50
    Image.fromarray(noise).save(tmp_path / 'x.png')
    content = bytearray((tmp_path / 'x.png').read_bytes())
    content[len(content) // 2] ^= 8
    (tmp_path / 'x.png').write_bytes(content)
    with pytest.raises(DataError, match='x.png'):
        read_valid(tmp_path / 'x.png')


@needs_rasterio
@pytest.mark.parametrize('suffix', ['png', 'tif', 'jp2'])
@pytest.mark.parametrize('bands', [1, 3])
def test_depth_is_stretched_by_one_rule_for_all_suffixes(tmp_path, suffix, bands):
    deep = scene()[..., :bands].astype(np.uint16) * 12
    path = tmp_path / f'x.{suffix}'
    if suffix == 'png' and bands == 3:
        deep_png(path, deep)
    elif suffix == 'jp2':
        import imagecodecs

        path.write_bytes(imagecodecs.jpeg2k_encode(deep.squeeze(), level=0, reversible=True))
    else:
        write = cv2.imwrite if suffix == 'png' else tifffile.imwrite
        write(str(path), deep.squeeze())
    low, high = np.percentile(deep, (2, 98), axis=(0, 1))
    expected = ((deep - low) / (high - low) * 255).clip(0, 255)
    found = LoadRGBImage()(dict(img_path=str(path)))['img']
    assert np.abs(found.astype(int) - three(expected)).max() <= 1
    np.testing.assert_array_equal(read_valid(path), deep)
    with pytest.raises(DataError, match='uint16.*MultiImgLoadImageFromFile.*MultiImgLoadTiff'):
        dates('MultiImgLoadImageFromFile', path)


def test_the_default_loader_of_pairs_refuses_what_it_would_lose(tmp_path):
    path = tmp_path / 'x.tif'
    for array, words in (
        (scene().astype(np.float32), '3 bands of float32'),
        (np.dstack([scene(), scene()[..., :1]]), '4 bands of uint8'),
        (scene()[..., 0].astype(np.int16), 'has int16'),
    ):
        planar = dict(planarconfig='contig') if array.ndim == 3 else {}
        tifffile.imwrite(path, array, photometric='minisblack', **planar)
        with pytest.raises(DataError, match=f'{words}.*MultiImgLoadTiff.*value_range'):
            dates('MultiImgLoadImageFromFile', path)
        assert dates('MultiImgLoadTiff', path)['img'][0].shape[:2] == (24, 31)


@pytest.mark.parametrize('value, nodata', [(np.nan, None), (np.inf, None), (-9999.0, -9999)])
def test_ground_without_data_is_masked_where_there_is_a_mask(tmp_path, value, nodata):
    """A pair's label loses it; an image without label is refused."""
    image = scene().astype(np.float32) + 10
    image[:6] = value
    tags = [] if nodata is None else [(42113, 's', 0, str(nodata), True)]
    tifffile.imwrite(tmp_path / 'x.tif', image, photometric='rgb', extratags=tags, metadata=None)
    results = dates('MultiImgLoadTiff', tmp_path / 'x.tif')
    assert np.isfinite(results['img'][0]).all()
    np.testing.assert_allclose(results['img'][0][0, 0], image[6:].mean((0, 1)), rtol=1e-5)
    Image.fromarray(np.full((24, 31), 255, np.uint8)).save(tmp_path / 'label.png')
    results.update(seg_map_path=str(tmp_path / 'label.png'), format_seg_map='to_binary')
    label = TRANSFORMS.build(dict(type='rs_mm.MultiImgLoadAnnotations'))(results)['gt_seg_map']
    assert (label[:6] == 255).all() and (label[6:] == 1).all()
    with pytest.raises(DataError, match=r'x.tif: 25.00% of its pixels.*`fill` of LoadBandImage'):
        LoadBandImage()(dict(img_path=str(tmp_path / 'x.tif')))
    filled = LoadBandImage(fill=3)(dict(img_path=str(tmp_path / 'x.tif')))['img']
    assert (filled[:6] == 3).all()
    with pytest.raises(DataError, match='x.tif: 25.00%'):
        read_rgb(tmp_path / 'x.tif')


def test_transparent_parts_hold_no_data(tmp_path):
    alpha = np.full((24, 31, 1), 255, np.uint8)
    alpha[:12] = 0
    Image.fromarray(np.concatenate([scene(), alpha], 2)).save(tmp_path / 'x.png')
    picture = read_picture(tmp_path / 'x.png')
    assert not picture.valid[:12].any() and picture.valid[12:].all() and picture.stray == 0
    assert read_picture(tmp_path / 'x.png', bands=[3, 0]).valid is None
    with pytest.raises(DataError, match='x.png: 50.00% of its pixels hold no data'):
        LoadRGBImage()(dict(img_path=str(tmp_path / 'x.png')))


def test_a_pair_without_any_data_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / 'x.tif', np.full((8, 8, 3), np.nan, np.float32), photometric='rgb')
    with pytest.raises(DataError, match='x.tif: no pixel holds data'):
        dates('MultiImgLoadTiff', tmp_path / 'x.tif')


@pytest.mark.parametrize('make, suffix, geo', KINDS)
def test_without_rasterio_it_is_the_same_or_refused(tmp_path, monkeypatch, make, suffix, geo):
    for module in ('rasters.reading', 'rasters.plain', 'datasets.pictures'):
        monkeypatch.setattr(f'rs_mm.{module}.has_rasterio', lambda: False)
    path, expected = make(tmp_path, suffix)
    try:
        found = three(read_valid(path))
    except ConfigError as error:
        assert 'rs_mm[geo]' in str(error) and path.name in str(error)
        return
    np.testing.assert_array_equal(found, expected)


def test_the_short_cut_for_tiff_is_the_raster_layer(tmp_path, monkeypatch):
    if not has_rasterio():
        pytest.skip('needs rasterio (rs_mm[geo])')
    rng = np.random.default_rng(3)
    for number, (dtype, bands, planar) in enumerate(
        [('u1', 3, 'contig'), ('u2', 5, 'separate'), ('f4', 1, None), ('i2', 4, 'contig')]
    ):
        array = (rng.random((9, 11, bands)) * 100).astype(dtype)
        stored = array.transpose(2, 0, 1) if planar == 'separate' else array
        path = tmp_path / f'{number}.tif'
        photometric = 'rgb' if dtype == 'u1' else 'minisblack'
        tifffile.imwrite(
            path, stored.squeeze(), photometric=photometric, planarconfig=planar, compression='lzw'
        )
        assert pictures._ordinary_tiff(path) is not None
        short = read_picture(path).array
        with monkeypatch.context() as patch:
            patch.setattr(pictures, '_ordinary_tiff', lambda path: None)
            np.testing.assert_array_equal(read_picture(path).array, short)
