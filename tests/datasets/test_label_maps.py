"""A label file has one meaning for all readers of labels; what is not understood is refused."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from rs_mm.datasets.label_maps import read_label_map
from rs_mm.datasets.transforms.episodes import read_label
from rs_mm.errors import DataError, MissingFileError
from rs_mm.registry import TRANSFORMS


def mask(largest=1):
    numbers = np.random.default_rng(2).integers(0, largest + 1, (13, 17)).astype(np.uint8)
    numbers[:3] = 0
    return numbers


def change(path, **settings):
    step = TRANSFORMS.build(dict(type='rs_mm.MultiImgLoadAnnotations'))
    return step(dict(seg_map_path=str(path), **settings))['gt_seg_map']


def binary(path):
    return change(path, format_seg_map='to_binary', label_values=(0, 255))


def classes(path):
    return change(path, format_seg_map=None, label_values=range(8))


def tiff_of_bits(path, numbers):
    tifffile.imwrite(path, numbers.astype(bool))  # tifffile states: 0 is white


def png_of_bits(path, numbers):
    Image.fromarray(numbers.astype(bool)).save(path)


def bmp_of_bits(path, numbers):
    Image.fromarray(numbers.astype(bool)).save(path)


def of_type(kind, scale=255):
    def write(path, numbers):
        tifffile.imwrite(path, (numbers * np.int64(scale)).astype(kind))

    return write


def three_equal_bands(path, numbers):
    Image.fromarray(np.dstack([numbers * 255] * 3)).save(path)


def black_and_white_palette(path, numbers):
    image = Image.fromarray(numbers, 'P')
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(path)


def planes_of_one(path, numbers):
    tifffile.imwrite(path, numbers[..., None] * 255, photometric='minisblack')


@pytest.mark.parametrize(
    'write, suffix',
    [
        (tiff_of_bits, 'tif'),
        (png_of_bits, 'png'),
        (bmp_of_bits, 'bmp'),
        (of_type('u1'), 'tif'),
        (of_type('u2'), 'tif'),
        (of_type('i8'), 'tif'),
        (of_type('f4'), 'tif'),
        (three_equal_bands, 'png'),
        (black_and_white_palette, 'png'),
        (black_and_white_palette, 'tif'),
        (black_and_white_palette, 'gif'),
        (planes_of_one, 'tif'),
    ],
)
def test_black_and_white_is_unchanged_and_changed(tmp_path, write, suffix):
    path = tmp_path / f'x.{suffix}'
    write(path, mask())
    np.testing.assert_array_equal(binary(path), mask())


@pytest.mark.parametrize(
    'write, suffix',
    [
        (of_type('u1', 1), 'tif'),
        (of_type('i2', 1), 'tif'),
        (of_type('i8', 1), 'tif'),
        (of_type('f8', 1), 'tif'),
        (lambda path, numbers: Image.fromarray(numbers).save(path), 'png'),
    ],
)
def test_class_numbers_are_the_same_for_both_readers(tmp_path, write, suffix):
    path = tmp_path / f'x.{suffix}'
    write(path, mask(7))
    for reader in (classes, read_label):
        found = reader(path)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, mask(7))


@pytest.mark.parametrize('suffix', ['png', 'tif'])
def test_indices_of_a_palette_are_class_numbers_for_both_readers(tmp_path, suffix):
    image = Image.fromarray(mask(7), 'P')
    image.putpalette(np.random.default_rng(0).integers(0, 255, 768).tolist())
    image.save(tmp_path / f'x.{suffix}')
    for reader in (classes, read_label):
        np.testing.assert_array_equal(reader(tmp_path / f'x.{suffix}'), mask(7))


@pytest.mark.parametrize('write, suffix', [(tiff_of_bits, 'tif'), (png_of_bits, 'png')])
def test_one_bit_is_class_0_and_1_for_both_readers(tmp_path, write, suffix):
    write(tmp_path / f'x.{suffix}', mask())
    for reader in (classes, read_label):
        np.testing.assert_array_equal(reader(tmp_path / f'x.{suffix}'), mask())


def test_white_is_not_taken_for_ignored_in_silence(tmp_path):
    Image.fromarray(mask() * 255).save(tmp_path / 'x.png')
    with pytest.raises(DataError, match='255.*to_binary'):
        classes(tmp_path / 'x.png')
    found = change(tmp_path / 'x.png', format_seg_map=None, label_values=(0, 1, 255))
    assert set(np.unique(found)) == {0, 255}


def in_alpha(path):
    black = np.zeros((13, 17, 3), np.uint8)
    Image.fromarray(np.dstack([black, mask() * 255])).save(path)


def two_pages(path):
    with tifffile.TiffWriter(path) as file:
        file.write(mask())
        file.write(mask())


def coloured(path):
    Image.fromarray(np.full((13, 17, 3), (0, 0, 63), np.uint8)).save(path)


def complex_numbers(path):
    tifffile.imwrite(path, mask().astype(np.complex64))


def nodata_is_a_class(path):
    tifffile.imwrite(path, mask(), extratags=[(42113, 's', 0, '0', True)], metadata=None)


def turned(path):
    tifffile.imwrite(path, mask(), extratags=[(274, 'H', 1, 6, True)], metadata=None)


def turned_by_exif(path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(mask()).save(path, exif=exif)


def in_lab(path):
    tifffile.imwrite(path, np.dstack([mask()] * 3), photometric='cielab')


def scaled(path):
    path.write_bytes(b'P5 17 13 15\n' + mask().tobytes())  # Pillow would give 17 times the numbers


def cut(path):
    Image.fromarray(mask()).save(path)
    path.write_bytes(path.read_bytes()[:-20])


@pytest.mark.parametrize(
    'make, suffix, words',
    [
        (in_alpha, 'png', 'transparency'),
        (in_alpha, 'tif', 'transparency'),
        (two_pages, 'tif', '2 pages'),
        (coloured, 'png', 'colour picture'),
        (coloured, 'tif', 'colour picture'),
        (complex_numbers, 'tif', 'complex'),
        (nodata_is_a_class, 'tif', 'declares 0 as nodata'),
        (turned, 'tif', 'orientation 6'),
        (turned_by_exif, 'png', 'is to be turned'),
        (in_lab, 'tif', 'colour space is CIELAB'),
        (scaled, 'pgm', 'largest value is stated as 15'),
        (cut, 'png', 'ends too early'),
        (cut, 'tif', 'too early|cannot be'),
        (lambda path: path.write_bytes(b'nothing'), 'png', 'not a readable image'),
    ],
)
def test_what_is_no_map_of_numbers_is_refused_by_both_readers(tmp_path, make, suffix, words):
    path = tmp_path / f'x.{suffix}'
    make(path)
    for reader in (classes, read_label):
        with pytest.raises(DataError, match=f'x.{suffix}.*({words})'):
            reader(path)


def test_a_nodata_value_that_is_no_class_is_ignored(tmp_path):
    numbers = mask().astype(np.int16)
    numbers[:3] = -9999
    tags = [(42113, 's', 0, '-9999', True)]
    tifffile.imwrite(tmp_path / 'x.tif', numbers, extratags=tags, metadata=None)
    for found in (read_label(tmp_path / 'x.tif'), change(tmp_path / 'x.tif', format_seg_map=None)):
        assert (found[:3] == 255).all()
        np.testing.assert_array_equal(found[3:], mask()[3:])


def test_numbers_that_are_no_classes_and_files_that_are_not_there(tmp_path):
    tifffile.imwrite(tmp_path / 'x.tif', mask().astype(np.float32) / 2)
    with pytest.raises(DataError, match='holds numbers outside 0 to 255'):
        read_label(tmp_path / 'x.tif')
    with pytest.raises(DataError, match=r'0.5'):
        classes(tmp_path / 'x.tif')
    with pytest.raises(MissingFileError, match='none.png'):
        read_label_map(tmp_path / 'none.png')
