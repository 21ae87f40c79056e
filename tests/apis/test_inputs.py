"""What a user hands in becomes one picture, or a sentence says what is wrong with it."""

import numpy as np
import pytest
from PIL import Image

from rs_mm.apis.inputs import as_picture, as_pictures
from rs_mm.datasets.pictures import read_valid
from rs_mm.datasets.transforms.band_images import LoadBandImage
from rs_mm.datasets.transforms.clip_images import LoadRGBImage
from rs_mm.datasets.wrapped_datasets import takes_eight_bit
from rs_mm.errors import DataError, MissingFileError

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (9, 12, 3), dtype=np.uint8)


def test_the_ways_to_hand_in_an_image_agree(tmp_path):
    path = tmp_path / 'a.png'
    Image.fromarray(COLOUR).save(path)
    ways = as_pictures([path, str(path), COLOUR, Image.fromarray(COLOUR), COLOUR / 255])
    assert [picture.name for picture in ways] == ['a', 'a', 'image 3', 'image 4', 'image 5']
    for loader in (LoadBandImage(num_bands=3), LoadRGBImage()):
        for picture in ways:
            np.testing.assert_array_equal(loader(picture.results())['img'], COLOUR)


def test_pillow_images_are_read_as_files_of_them(tmp_path):
    grey = Image.fromarray(COLOUR[..., 0])
    modes = {
        'palette': Image.fromarray(COLOUR).quantize(7),
        'bits': grey.point(lambda v: 255 * (v > 99)).convert('1'),
        'cmyk': Image.fromarray(COLOUR).convert('CMYK'),
    }
    assert as_picture(modes['palette']).array.shape == (9, 12, 3)
    np.testing.assert_array_equal(
        as_picture(modes['bits']).array[..., 0], np.asarray(modes['bits']) * 255
    )
    assert as_picture(modes['cmyk']).array.shape == (9, 12, 3)
    turned = Image.fromarray(COLOUR)
    turned.getexif()[274] = 6
    turned.save(tmp_path / 'turned.png', exif=turned.getexif())
    assert as_picture(Image.open(tmp_path / 'turned.png')).array.shape == (12, 9, 3)


def test_floats_are_told_apart_by_their_range(caplog):
    grey = np.array([[0.0, 0.5], [0.25, 1.0]])
    assert as_picture(grey).array[..., 0].tolist() == [[0, 128], [64, 255]]
    assert as_picture(grey * 200).array[..., 0].tolist() == [[0, 100], [50, 200]]
    assert as_picture(grey * 1e4, eight_bit=False).array.max() == 1e4
    assert as_picture((grey * 1e4).astype(np.uint16)).array.dtype == np.uint16
    assert as_picture(grey > 0.3).array[..., 0].tolist() == [[0, 255], [0, 255]]


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (np.zeros((3, 40, 50)), r'\(3, 40, 50\), which looks like \(C, H, W\)'),
        (np.zeros((2, 3, 4, 5)), r'shape \(2, 3, 4, 5\); an image is'),
        (np.zeros((0, 4)), r'shape \(0, 4\)'),
        (np.full((4, 4), np.nan), 'NaN or infinite'),
        (np.linspace(-1, 1, 16).reshape(4, 4), 'floats from -1 to 1, but the model takes'),
        (np.linspace(0, 4000, 16).reshape(4, 4), 'from 0 to 4000'),
        (np.array([['a']]), 'array of <U1'),
        (7, 'type int; give a path'),
        ([], 'list of images is empty'),
    ],
)
def test_what_is_no_image_is_said(given, message):
    with pytest.raises(DataError, match=message):
        as_pictures(given)


def test_a_missing_file_and_a_folder_are_said(tmp_path):
    with pytest.raises(MissingFileError, match='b.png: no such image'):
        as_pictures(tmp_path / 'b.png')
    with pytest.raises(DataError, match='is a folder'):
        as_pictures(tmp_path)


def test_an_open_rasterio_dataset(tmp_path):
    rasterio = pytest.importorskip('rasterio')
    from rasterio.io import MemoryFile
    from rasterio.transform import from_origin

    place = dict(crs='EPSG:32650', transform=from_origin(5e5, 4e6, 2, 2))
    profile = dict(driver='GTiff', width=12, height=9, count=3, dtype='uint8', **place)
    planes = COLOUR.transpose(2, 0, 1)
    with rasterio.open(tmp_path / 'a.tif', 'w', photometric='RGB', **profile) as file:
        file.write(planes)
    with rasterio.open(tmp_path / 'a.tif') as file:
        assert as_picture(file).path == str(tmp_path / 'a.tif')
    with MemoryFile() as memory:
        with memory.open(photometric='RGB', **profile) as file:
            file.write(planes)
        with memory.open() as file:
            picture = as_picture(file, 'm')
    np.testing.assert_array_equal(picture.array, read_valid(str(tmp_path / 'a.tif')))
    assert picture.name == 'm' and picture.transform == place['transform']


def test_whether_a_pipeline_works_on_eight_bits():
    assert takes_eight_bit([dict(type='LoadBandImage'), dict(type='ScaleBands')])
    assert takes_eight_bit([dict(type='rs_mm.LoadEpisode')])
    assert not takes_eight_bit([dict(type='LoadBandImage'), dict(type='NormalizeBands')])
