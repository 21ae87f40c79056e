"""What a file's tags say is applied, or the file is refused by name."""

import numpy as np
import pytest
import tifffile
from PIL import Image

rasterio = pytest.importorskip('rasterio', reason='the extra geo is not installed')

from rasterio.transform import from_origin  # noqa: E402

from rs_mm.errors import ConfigError, DataError, MissingFileError  # noqa: E402
from rs_mm.rasters import describe, open_raster, read_pixels, to_uint8  # noqa: E402
from tests.rasters.files import write  # noqa: E402

pytestmark = pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')
RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 255, (24, 36, 3)).astype(np.uint8)
GREY = IMAGE[..., 0]


@pytest.mark.parametrize(
    'name, mode',
    [('a.tif', 'P'), ('a.png', 'P'), ('a.tif', 'CMYK'), ('a.tif', '1'), ('a.png', '1')],
)
def test_colour_models(tmp_path, name, mode):
    picture = Image.fromarray(IMAGE).convert(mode)
    picture.save(tmp_path / name)
    found = read_pixels(tmp_path / name)
    expected = np.atleast_3d(picture.convert('L' if mode == '1' else 'RGB'))
    np.testing.assert_array_equal(found.array, expected)
    assert found.valid.all()


@pytest.mark.parametrize('dtype, white', [('u1', 255), ('u2', 65535)])
def test_white_is_zero(tmp_path, dtype, white):
    grey = GREY.astype(dtype)
    tifffile.imwrite(tmp_path / 'a.tif', white - grey, photometric='miniswhite')
    np.testing.assert_array_equal(read_pixels(tmp_path / 'a.tif').array[..., 0], grey)
    stored = read_pixels(tmp_path / 'a.tif', stored=True).array[..., 0]
    np.testing.assert_array_equal(stored, white - grey)


def test_stored_numbers_of_labels(tmp_path):
    """A palette's numbers and a bit's 0 and 1 are classes to a label reader."""
    label = (GREY > 99).astype(np.uint8)
    tifffile.imwrite(tmp_path / 'bool.tif', label.astype(bool))
    Image.fromarray(IMAGE).quantize(8).save(tmp_path / 'p.tif')
    np.testing.assert_array_equal(
        read_pixels(tmp_path / 'bool.tif', stored=True).array[..., 0], label
    )
    found = read_pixels(tmp_path / 'p.tif', stored=True).array
    np.testing.assert_array_equal(found[..., 0], np.asarray(Image.open(tmp_path / 'p.tif')))


@pytest.mark.parametrize('orientation', range(1, 9))
def test_orientation(tmp_path, orientation):
    """Pillow turns by the same tag."""
    from PIL import ImageOps

    path = tmp_path / 'a.tif'
    tifffile.imwrite(path, IMAGE, photometric='rgb', extratags=[(274, 'H', 1, orientation, True)])
    with Image.open(path) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture))
    with open_raster(path) as raster:
        assert raster.info.shape == expected.shape[:2]
        np.testing.assert_array_equal(raster.read().array, expected)
        window = raster.read(window=np.s_[2:9, 3:20]).array
    np.testing.assert_array_equal(window, expected[2:9, 3:20])


@pytest.mark.parametrize('suffix', ['png', 'webp'])
def test_orientation_of_exif(tmp_path, suffix):
    exif = Image.Exif()
    exif[274] = 8
    path = tmp_path / f'a.{suffix}'
    Image.fromarray(IMAGE).save(path, exif=exif, lossless=True)
    with open_raster(path) as raster:
        assert raster.info.shape == IMAGE.shape[1::-1]
        np.testing.assert_array_equal(raster.read().array, np.rot90(IMAGE))


@pytest.mark.parametrize('suffix', ['gif', 'png', 'webp'])
def test_several_frames_are_refused(tmp_path, suffix):
    path = tmp_path / f'a.{suffix}'
    frames = [Image.fromarray(IMAGE), Image.fromarray(255 - IMAGE)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match='2 frames'):
        open_raster(path)


def test_what_is_refused_by_name(tmp_path):
    tifffile.imwrite(tmp_path / 'complex.tif', GREY.astype('c8'))
    tifffile.imwrite(tmp_path / 'pages.tif', IMAGE.transpose(2, 0, 1), photometric='minisblack')
    Image.fromarray(IMAGE).convert('LAB').save(tmp_path / 'lab.tif')
    write(tmp_path / 'cmyk.tif', np.dstack([IMAGE, GREY]).astype('u2'), photometric='cmyk')
    (tmp_path / 'text.png').write_text('no image')
    (tmp_path / 'empty.tif').touch()
    whole = tmp_path / 'whole.tif'
    tifffile.imwrite(whole, IMAGE, photometric='rgb')
    (tmp_path / 'half.tif').write_bytes(whole.read_bytes()[:1500])
    for name, reason in dict(
        complex='complex64', pages='3 pages', lab='CIE Lab', cmyk='CMYK', empty='empty', half='half'
    ).items():
        with pytest.raises(DataError, match=f'{name}.tif.*{reason}'):
            read_pixels(tmp_path / f'{name}.tif')
    with pytest.raises(DataError, match='text.png: GDAL cannot read this image'):
        read_pixels(tmp_path / 'text.png')
    with pytest.raises(MissingFileError, match='none.tif'):
        read_pixels(tmp_path / 'none.tif')


def test_preview_before_the_image(tmp_path):
    with tifffile.TiffWriter(tmp_path / 'a.tif') as file:
        file.write(np.ascontiguousarray(IMAGE[::3, ::3]), photometric='rgb', subfiletype=1)
        file.write(IMAGE, photometric='rgb')
    np.testing.assert_array_equal(read_pixels(tmp_path / 'a.tif').array, IMAGE)
    assert describe(tmp_path / 'a.tif').shape == IMAGE.shape[:2]


@pytest.mark.parametrize(
    'dtype, nodata, one_band_is_enough', [('f4', -9999, True), ('i2', -1, True), ('u2', 0, False)]
)
def test_nodata(tmp_path, dtype, nodata, one_band_is_enough):
    array = IMAGE.astype(dtype) + 1
    array[:5, :7] = nodata  # all bands
    array[10, 10, 1] = nodata
    write(tmp_path / 'a.tif', array, nodata=nodata)
    expected = np.ones(array.shape[:2], bool)
    expected[:5, :7] = False
    expected[10, 10] = not one_band_is_enough
    np.testing.assert_array_equal(read_pixels(tmp_path / 'a.tif').valid, expected)
    assert describe(tmp_path / 'a.tif').nodata == (nodata,) * 3


def test_not_finite_and_rounded_nodata(tmp_path):
    array = IMAGE.astype('f4')
    array[0, 0, 1], array[1, 1] = np.nan, np.inf
    write(tmp_path / 'a.tif', array)
    valid = read_pixels(tmp_path / 'a.tif').valid
    assert not valid[0, 0] and not valid[1, 1] and valid.sum() == valid.size - 2
    assert read_pixels(tmp_path / 'a.tif', bands=[0]).valid[0, 0]
    lowest = np.finfo('f4').min
    write(tmp_path / 'b.tif', np.where(array > 99, lowest, 1).astype('f4'), nodata=float(lowest))
    found = read_pixels(tmp_path / 'b.tif')
    np.testing.assert_array_equal(found.valid, ~(found.array == lowest).any(axis=2))


def test_alpha_is_a_mask_until_it_is_named(tmp_path):
    alpha = np.where(GREY > 60, 255, 0).astype(np.uint8)
    Image.fromarray(np.dstack([IMAGE, alpha])).save(tmp_path / 'a.png')
    found = read_pixels(tmp_path / 'a.png')
    np.testing.assert_array_equal(found.array, IMAGE)
    np.testing.assert_array_equal(found.valid, alpha > 0)
    info = describe(tmp_path / 'a.png')
    assert (info.bands, info.stored_bands, info.alpha) == (3, 4, 3)
    named = read_pixels(tmp_path / 'a.png', bands=[3, 0])
    np.testing.assert_array_equal(named.array, np.dstack([alpha, GREY]))
    assert named.valid.all()


def test_mask_inside_the_file(tmp_path):
    mask = GREY > 100
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            tmp_path / 'a.tif', 'w', driver='GTiff', height=24, width=36, count=3, dtype='uint8'
        ) as file,
    ):
        file.write(IMAGE.transpose(2, 0, 1))
        file.write_mask(mask)
    found = read_pixels(tmp_path / 'a.tif')
    np.testing.assert_array_equal(found.valid, mask)
    assert describe(tmp_path / 'a.tif').has_mask


def test_windows_and_decimation(tmp_path):
    big = RNG.integers(0, 9999, (300, 400, 2)).astype(np.uint16)
    write(tmp_path / 'a.tif', big, tiled=True, blockxsize=64, blockysize=64)
    with open_raster(tmp_path / 'a.tif') as raster:
        found = raster.read(bands=[1], window=np.s_[100:180, 250:400]).array[..., 0]
        np.testing.assert_array_equal(found, big[100:180, 250:, 1])
        small = raster.read(shape=(30, 40)).array
        assert small.shape == (30, 40, 2) and np.isin(small[..., 0], big[..., 0]).all()
        for window in (np.s_[0:301, :], np.s_[5:5, :], np.s_[::2, :]):
            with pytest.raises(DataError, match='window'):
                raster.read(window=window)
        with pytest.raises(DataError, match='bands 0 to 1, but band 2'):
            raster.read(bands=[2])


def test_place_on_the_ground(tmp_path):
    write(tmp_path / 'a.tif', IMAGE, crs='EPSG:32650', transform=from_origin(500, 900, 10, 10))
    Image.fromarray(IMAGE).save(tmp_path / 'b.png')
    info = describe(tmp_path / 'a.tif')
    assert info.georeferenced and info.crs.to_epsg() == 32650 and info.transform.c == 500
    assert not describe(tmp_path / 'b.png').georeferenced


def test_other_formats(tmp_path):
    for name, driver in (('a.jp2', 'JP2OpenJPEG'), ('a.img', 'HFA'), ('a', 'ENVI')):
        options = dict(QUALITY='100', REVERSIBLE='YES') if driver == 'JP2OpenJPEG' else {}
        with rasterio.open(
            tmp_path / name, 'w', driver=driver, height=24, width=36, count=3, dtype='uint8',
            **options,
        ) as file:  # fmt: skip
            file.write(IMAGE.transpose(2, 0, 1))
        np.testing.assert_array_equal(read_pixels(tmp_path / name).array, IMAGE)
        assert describe(tmp_path / name).driver == driver


def test_jpeg(tmp_path):
    """As OpenCV decodes it; turned by EXIF; refused when it is cut off."""
    import cv2

    path, exif = tmp_path / 'a.jpg', Image.Exif()
    exif[274] = 6
    Image.fromarray(IMAGE).save(path, quality=90, exif=exif)
    found = read_pixels(path)
    expected = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(found.array, expected)
    assert found.array.shape == (36, 24, 3)
    (tmp_path / 'half.jpg').write_bytes(path.read_bytes()[:-300])
    with pytest.raises(DataError, match='half.jpg: the JPEG ends too early'):
        read_pixels(tmp_path / 'half.jpg')


def test_depth():
    deep = RNG.normal(1500, 300, (50, 50, 2)).astype('f4')
    valid = np.ones((50, 50), bool)
    expected = to_uint8(deep, valid)
    deep[:20, :20], valid[:20, :20] = -9999, False
    low, high = np.percentile(deep[valid], (2, 98), axis=0)
    found = to_uint8(deep, valid)
    wanted = np.clip((deep[valid] - low) / (high - low), 0, 1) * 255
    assert np.abs(found[valid] - wanted).max() <= 0.51
    assert np.abs(found[valid].astype(int) - expected[valid]).max() < 30
    assert to_uint8(IMAGE) is IMAGE
    with pytest.raises(DataError, match='no pixel'):
        to_uint8(deep, np.zeros((50, 50), bool))
    with pytest.raises(ConfigError, match='low < high'):
        to_uint8(deep, value_range=(5, 5))


def test_without_rasterio(tmp_path, monkeypatch):
    """Plain files are read by the same rule; others say what to install."""
    import sys

    tifffile.imwrite(tmp_path / 'w.tif', 255 - GREY, photometric='miniswhite')
    deep = np.dstack([IMAGE, GREY]).astype('u2') * 9
    write(tmp_path / 'n.tif', deep, nodata=0)
    Image.fromarray(np.dstack([IMAGE, GREY])).save(tmp_path / 'a.png')
    Image.fromarray(IMAGE).quantize(8).save(tmp_path / 'p.tif')
    names = ('w.tif', 'n.tif', 'a.png')
    expected = [read_pixels(tmp_path / name) for name in names]
    monkeypatch.setitem(sys.modules, 'rasterio', None)
    for name, wanted in zip(names, expected):
        found = read_pixels(tmp_path / name)
        np.testing.assert_array_equal(found.array, wanted.array)
        np.testing.assert_array_equal(found.valid, wanted.valid)
    for name in ('p.tif', 'b.vrt'):
        (tmp_path / 'b.vrt').write_text('<VRTDataset/>')
        with pytest.raises(ConfigError, match=r'needs rasterio.*pip install "rs_mm\[geo\]"'):
            read_pixels(tmp_path / name)
