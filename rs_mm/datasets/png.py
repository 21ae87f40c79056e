"""Decoding of ordinary PNG files in about half the time of OpenCV and Pillow."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from rs_mm.limits import check_pixels

_SIGNATURE = b'\x89PNG\r\n\x1a\n'
# chunks that do not change pixels in any decoder; others (transparency, orientation, animation) may
_HARMLESS = frozenset({b'IHDR', b'IDAT', b'pHYs', b'tIME', b'gAMA', b'cHRM', b'sRGB', b'iCCP'})


def decode_plain_png(
    content: bytes, bands: int | None = None, name: str | Path = 'the PNG'
) -> np.ndarray | None:
    """Decodes a PNG of 8 bits that is grey or RGB and has no other chunks that matter.

    All decoders give the same pixels for such a file; libpng of imagecodecs is the fastest.

    Args:
        content: the file.
        bands: decode only a file with this number of bands, 1 or 3.
        name: name of the file in a message.

    Returns:
        (H, W) or (H, W, 3) RGB, uint8; None for any other file, also a damaged one; another decoder
        then reads or refuses it.

    Raises:
        DataError: the file has more pixels than the limit.
    """
    if not _is_plain(content, bands):
        return None
    width, height = struct.unpack_from('>II', content, 16)
    check_pixels(height, width, name)
    import imagecodecs  # slow to import, and not every dataset has PNGs

    if not imagecodecs.PNG.available:  # a build without libpng
        return None
    try:
        return imagecodecs.png_decode(content)
    except (imagecodecs.PngError, ValueError):
        return None


def read_plain_png(path: str | Path, bands: int | None = None) -> np.ndarray | None:
    """Applies :func:`decode_plain_png` to a file; returns None also if it is missing or not a
    ``.png``."""
    if not str(path).lower().endswith('.png'):
        return None
    try:
        content = Path(path).read_bytes()
    except OSError:
        return None
    return decode_plain_png(content, bands, path)


def _is_plain(content, bands):
    if content[:8] != _SIGNATURE or content[12:16] != b'IHDR' or len(content) < 33:
        return False
    depth, colour, _, _, interlaced = content[24:29]
    if depth != 8 or colour not in (0, 2) or interlaced or bands not in (None, colour + 1):
        return False
    place = 8
    while place + 8 <= len(content):
        length, kind = struct.unpack_from('>I4s', content, place)
        if kind == b'IEND':
            return True
        if kind not in _HARMLESS and not _is_remark(content, place, kind):
            return False
        place += 12 + length
    return False


def _is_remark(content, place, kind):
    # Pillow rotates images by an orientation in texts of these names
    return kind == b'tEXt' and not content.startswith((b'Raw profile', b'XML:'), place + 8)
