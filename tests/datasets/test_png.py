"""The fast decoder of PNG gives what OpenCV and Pillow give, or leaves the file to them."""

import io
import re
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from rs_mm.datasets import label_maps, pictures
from rs_mm.datasets.png import decode_plain_png, read_plain_png
from rs_mm.datasets.transforms import LoadRGBImage
from rs_mm.datasets.transforms.multi_img_loading import decode
from rs_mm.errors import DataError, MissingFileError

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 51, 3), np.uint8)
GREY = IMAGE[..., 0].copy()


def encode(array, mode=None, **kwargs):
    buffer = io.BytesIO()
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(buffer, 'png', **kwargs)
    return buffer.getvalue()


def with_chunk(kind, data):
    chunk = struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    content = encode(IMAGE)
    return content[:33] + chunk + content[33:]


def orientation():
    exif = Image.Exif()
    exif[0x112] = 6
    return exif


PLAIN = dict(
    rgb=encode(IMAGE),
    grey=encode(GREY),
    strong=encode(IMAGE, compress_level=9),
    many_chunks=cv2.imencode('.png', IMAGE)[1].tobytes(),
    gamma=with_chunk(b'gAMA', struct.pack('>I', 90000)),
    srgb=with_chunk(b'sRGB', b'\0'),
    size=with_chunk(b'pHYs', struct.pack('>IIB', 3000, 3000, 1)),
    remark=with_chunk(b'tEXt', b'Software\0any'),
)
OTHER = dict(
    alpha=encode(IMAGE, 'RGBA'),
    grey_alpha=encode(GREY, 'LA'),
    palette=encode(IMAGE, 'P'),
    one_bit=encode(GREY, '1'),
    deep=encode(GREY.astype(np.uint16) * 200),
    transparent=with_chunk(b'tRNS', struct.pack('>3H', 1, 2, 3)),
    turned=encode(IMAGE, exif=orientation()),
    turned_by_text=with_chunk(b'tEXt', b'Raw profile type exif\0\n\n0\n'),
    animated=encode(IMAGE, save_all=True, append_images=[Image.fromarray(IMAGE[::-1])]),
    jpeg=cv2.imencode('.jpg', IMAGE)[1].tobytes(),
    nothing=b'',
    cut=encode(IMAGE)[:500],
    ends_early=encode(IMAGE)[:-12],
    damaged=encode(IMAGE)[:300] + b'x' + encode(IMAGE)[301:],
)


@pytest.mark.parametrize('name', PLAIN)
def test_plain_files(name):
    content = PLAIN[name]
    found = decode_plain_png(content)
    by_opencv = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    by_pillow = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, by_pillow)
    np.testing.assert_array_equal(found[..., ::-1] if found.ndim == 3 else found, by_opencv)
    bands = 1 if found.ndim == 2 else 3
    assert decode_plain_png(content, bands) is not None
    assert decode_plain_png(content, 4 - bands) is None


@pytest.mark.parametrize('name', OTHER)
def test_other_files_are_left_to_other_decoders(name):
    assert decode_plain_png(OTHER[name]) is None


@pytest.mark.parametrize('name', [*PLAIN, *OTHER])
def test_loaders_read_what_they_read_without_it(name, tmp_path, monkeypatch):
    path = tmp_path / 'x.png'
    path.write_bytes((PLAIN | OTHER)[name])
    loaders = [
        pictures.read_valid,
        pictures.read_rgb,
        label_maps.read_label_map,
        lambda path: LoadRGBImage()(dict(img_path=path))['img'],
        *[
            lambda path, args=args: decode(path, *args).array
            for args in (('color', 'cv2'), ('grayscale', 'pillow'), ('unchanged', 'cv2'))
        ],
    ]
    here = [outcome(loader, str(path)) for loader in loaders]
    monkeypatch.setattr(pictures, 'read_plain_png', lambda *_, **__: None)
    monkeypatch.setattr(label_maps, 'decode_plain_png', lambda *_, **__: None)
    for loader, found in zip(loaders, here):
        expected = outcome(loader, str(path))
        assert type(found) is type(expected)
        np.testing.assert_array_equal(found, expected)
        if isinstance(found, np.ndarray):
            assert found.dtype == expected.dtype


def outcome(loader, path):
    """The image, or what is said instead."""
    try:
        return loader(path)
    except DataError as error:
        return re.sub('0x[0-9a-f]+', '', str(error))


def test_without_the_codec(monkeypatch):
    import imagecodecs

    monkeypatch.setattr(imagecodecs.PNG, 'available', False)
    assert decode_plain_png(PLAIN['rgb']) is None


def test_files_that_are_not_there(tmp_path):
    assert read_plain_png(tmp_path / 'none.png') is None
    (tmp_path / 'x.tif').write_bytes(PLAIN['rgb'])
    assert read_plain_png(tmp_path / 'x.tif') is None
    for loader in (pictures.read_valid, pictures.read_rgb, label_maps.read_label_map):
        with pytest.raises(MissingFileError, match='none.png'):
            loader(tmp_path / 'none.png')
