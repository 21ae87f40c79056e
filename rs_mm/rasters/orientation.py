"""The orientation of PNG and WebP files, which GDAL does not report."""

from __future__ import annotations

import warnings
from pathlib import Path

from rs_mm.errors import DataError

_PNG = b'\x89PNG\r\n\x1a\n'
_TEXTS = (b'tEXt', b'zTXt', b'iTXt')
_HOLDS_EXIF = (b'Raw profile', b'XML:')  # texts in which programs store EXIF and XMP
_TAG = 274
_WEBP_EXIF = 8  # the flag of an extended WebP


def picture_orientation(path: str | Path) -> int:
    """Returns the EXIF orientation of a PNG or WebP, 1 to 8; 1 without EXIF.

    Pillow decodes a whole PNG to find its EXIF, so it is used only if a chunk may hold EXIF.

    Raises:
        DataError: the file may hold EXIF, and Pillow is not installed.
    """
    try:
        with open(path, 'rb') as file:
            start = file.read(21)
            if start[:8] == _PNG:
                file.seek(8)
                if not _may_hold_exif(file):
                    return 1
            elif start[:4] != b'RIFF' or start[8:16] != b'WEBPVP8X' or not start[20] & _WEBP_EXIF:
                return 1
    except (OSError, IndexError):  # a damaged file; its reader reports the reason
        return 1
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise DataError(
            f'{path}: its EXIF may say how it is turned; reading that needs Pillow '
            '(pip install pillow).'
        ) from error
    try:
        with warnings.catch_warnings():  # the limit of pixels is checked elsewhere
            warnings.simplefilter('ignore')
            with Image.open(path) as image:
                found = image.getexif().get(_TAG, 1)
    except Exception:  # a damaged file; its reader reports the reason
        return 1
    return found if found in range(1, 9) else 1


def _may_hold_exif(file):
    while len(head := file.read(8)) == 8 and head[4:] != b'IEND':
        length = int.from_bytes(head[:4], 'big')
        name = file.read(min(length, 12)) if head[4:] in _TEXTS else b''
        if head[4:] == b'eXIf' or name.startswith(_HOLDS_EXIF):
            return True
        file.seek(length - len(name) + 4, 1)
    return False
