"""A check that a picture is complete, because decoders fill in missing parts."""

from __future__ import annotations

import contextlib
import io
import os
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rs_mm.errors import DataError
from rs_mm.limits import check_pixels, max_pixels

_PNG = b'\x89PNG\r\n\x1a\n'
_JP2, _J2K = b'\0\0\0\x0cjP  \r\n\x87\n', b'\xff\x4f\xff\x51'
_ANIMATED = ('.gif', '.webp', '.png', '.apng')
_NO_FRAME = (0xC4, 0xC8, 0xCC)  # markers among those of frames that begin none
_JPEG_START, _JPEG_SCAN, _JPEG_END = b'\xff\xd8', b'\xff\xda', b'\xff\xd9'


def check_whole(path: str | Path) -> None:
    """Refuses a truncated PNG, JPEG, JPEG 2000, GIF, WebP, BMP or PPM; other files pass.

    Raises:
        DataError: the file ends too early, or a chunk of a PNG is damaged.
    """
    size = os.path.getsize(path)
    with open(path, 'rb') as file:
        start = file.read(16)
        for begin, check in _CHECKS:
            if start.startswith(begin):
                file.seek(0)
                check(file, size, path)


def check_one_frame(path: str | Path) -> None:
    """Refuses a GIF, WebP or PNG of several frames, because it is unknown which frame is meant.

    Raises:
        DataError: the file has several frames.
    """
    if not str(path).lower().endswith(_ANIMATED):
        return
    try:
        from PIL import Image
    except ModuleNotFoundError as error:  # an exported model runs without Pillow
        with open(path, 'rb') as file:
            start = file.read(65536)
        if start.startswith(_PNG) and b'acTL' not in start:  # the chunk of an animation
            return
        raise DataError(f'{path}: reading it needs Pillow (pip install pillow).') from error
    try:
        with warnings.catch_warnings():  # the limit of pixels is checked elsewhere
            warnings.simplefilter('ignore')
            with Image.open(path) as file:
                frames = getattr(file, 'n_frames', 1)
    except Exception:  # the reader reports what is wrong
        return
    if frames > 1:
        raise DataError(f'{path}: it holds {frames} frames; write the frame to use to a file.')


def check_jpeg_end(content: bytes, path: str | Path) -> None:
    """Refuses a JPEG that ends before its last scan, because decoders fill the rest with grey.

    Raises:
        DataError: the file is truncated.
    """
    if content[:2] != _JPEG_START or content.endswith(_JPEG_END):
        return
    scan = content.rfind(_JPEG_SCAN)
    if scan >= 0 and content.find(_JPEG_END, scan) < 0:
        raise _cut(path, 'JPEG')


def _check_jpeg(file, size, path):
    check_jpeg_end(file.read(), path)


def _check_png(file, size, path):
    file.seek(len(_PNG))
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[:4], 'big')
        if file.tell() + length + 4 > size:
            break
        data, stated = file.read(length), int.from_bytes(file.read(4), 'big')
        if zlib.crc32(data, zlib.crc32(head[4:])) != stated:
            raise DataError(f'{path}: the PNG is damaged (a checksum does not match).')
        if head[4:] == b'IEND':
            return
    raise _cut(path, 'PNG')


def _check_gif(file, size, path):
    if not _tail(file, size).rstrip(b'\0').endswith(b';'):
        raise _cut(path, 'GIF')


def _check_webp(file, size, path):
    head = file.read(12)
    if head[8:] == b'WEBP' and size < 8 + int.from_bytes(head[4:8], 'little'):
        raise _cut(path, 'WebP image')


def _check_bmp(file, size, path):
    if size < int.from_bytes(file.read(6)[2:], 'little'):
        raise _cut(path, 'BMP')


def _check_codestream(file, size, path):
    if _JPEG_END not in _tail(file, size):  # further boxes may follow
        raise _cut(path, 'JPEG 2000 image')


def _check_netpbm(file, size, path):
    """Checks P5 and P6: three numbers (width, height, largest value) after the magic, then
    samples."""
    bands = 3 if file.read(2) == b'P6' else 1
    found = re.match(rb'(?:\s+(?:#[^\n]*\n\s*)*\d+){3}\s', file.read(4096))
    if found is None:
        return
    width, height, largest = map(int, re.sub(rb'#[^\n]*\n', b' ', found[0]).split())
    if largest not in (255, 65535):
        raise DataError(
            f'{path}: its largest value is stated as {largest}, which programs read differently; '
            'write it with 255 or 65535.'
        )
    needed = width * height * bands * (1 if largest < 256 else 2)
    if size < 2 + found.end() + needed:
        raise _cut(path, 'PPM')


def _tail(file, size):
    file.seek(max(0, size - 1024))
    return file.read()


def _cut(path, kind):
    return DataError(f'{path}: the {kind} ends too early; it was not copied as a whole.')


_CHECKS = (
    (_PNG, _check_png),
    (_JPEG_START, _check_jpeg),
    (_JP2, _check_codestream),
    (_J2K, _check_codestream),
    (b'GIF8', _check_gif),
    (b'RIFF', _check_webp),
    (b'BM', _check_bmp),
    (b'P5', _check_netpbm),
    (b'P6', _check_netpbm),
)


@contextlib.contextmanager
def open_by_pillow(source: str | Path | io.BytesIO, path: str | Path) -> Iterator[Any]:
    """Calls Pillow's ``Image.open`` with the limit of pixels, before anything is decoded.

    Args:
        source: the file, or its content.
        path: the file, for the message.

    Raises:
        DataError: the picture has more pixels than the limit.
    """
    from PIL import Image

    if 'RS_MM_MAX_PIXELS' in os.environ:  # Pillow refuses twice as many pixels
        Image.MAX_IMAGE_PIXELS = -(-max_pixels() // 2)
    try:
        file = Image.open(source)
    except Image.DecompressionBombError as error:
        raise DataError(
            f'{path}: it has more pixels than the {max_pixels() / 1e6:,.0f} million that are read; '
            'cut it into tiles, or raise the limit by the environment variable RS_MM_MAX_PIXELS.'
        ) from error
    with file:
        check_pixels(file.height, file.width, path)
        yield file


def check_header(content: bytes, path: str | Path) -> None:
    """Refuses a picture whose header states more pixels than the limit, before any decoder reads
    it.

    Raises:
        DataError: the header states too many pixels.
    """
    shape = _jpeg_shape(content)  # in a twentieth of the time that Pillow takes
    if shape is not None:
        height, width = shape
        check_pixels(height, width, path)
        return
    try:
        with open_by_pillow(io.BytesIO(content), path):
            pass
    except DataError:
        raise
    except Exception:  # not a picture for Pillow: the decoder reports the reason
        return


def _jpeg_shape(content):
    """(height, width) that the frame header of a JPEG states; None if there is none."""
    if content[:2] != _JPEG_START:
        return None
    place = 2
    while place + 9 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            height, width = struct.unpack_from('>HH', content, place + 5)
            return (height, width) if height and width else None
        place += 2 + int.from_bytes(content[place + 2 : place + 4], 'big')
    return None
