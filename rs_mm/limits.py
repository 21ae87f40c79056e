"""The limits of what one file may request, for all readers.

A file of a few kilobytes can state a size, or unpack to data, beyond the memory of a machine. Every
reader checks the limits before it unpacks anything. Real data stay below the limits; each limit can
be raised by an environment variable, which the workers of a data loader also read.

==========================  =====================  ==============================================
variable                    default                limits
==========================  =====================  ==============================================
``RS_MM_MAX_PIXELS``        178,956,970 (2^29/3)   pixels of an image that is read as a whole
``RS_MM_MAX_SCENE_PIXELS``  2^40                   pixels of a raster that is read in windows
``RS_MM_MAX_TABLE_BYTES``   256 MiB                text of a compressed table
``RS_MM_OUTSIDE_PATHS``     0                      1: names in tables may leave their data folder
==========================  =====================  ==============================================
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from rs_mm.errors import ConfigError, DataError

_PIXELS = (1 << 29) // 3  # the size at which Pillow also refuses an image
_SCENE_PIXELS = 1 << 40
_TABLE_BYTES = 256 << 20
_SAMPLE_BYTES = 24  # bytes of one pixel on average: 12 bands of 16 bits, or 6 of 32 bits


def max_pixels(windowed: bool = False) -> int:
    """Returns the largest number of pixels of an image, or with ``windowed`` of a raster read in
    windows."""
    if windowed:
        return _setting('RS_MM_MAX_SCENE_PIXELS', _SCENE_PIXELS)
    return _setting('RS_MM_MAX_PIXELS', _PIXELS)


def check_pixels(
    height: int, width: int, where: str | Path, bytes_per_pixel: int = 3, windowed: bool = False
) -> None:
    """Refuses an image with more pixels than the limit, before it is decoded.

    Args:
        height, width: size in the file's header.
        where: the file, for the message.
        bytes_per_pixel: bytes of all bands together; a large number counts as more pixels.
        windowed: whether only windows are read.

    Raises:
        DataError: the image has more pixels.
    """
    limit, variable = max_pixels(windowed), 'RS_MM_MAX_PIXELS'
    if windowed:
        variable, bytes_per_pixel = 'RS_MM_MAX_SCENE_PIXELS', 1
    pixels = height * width
    if pixels > limit:
        raise DataError(
            f'{where}: {width} x {height} pixels are {pixels / 1e6:,.0f} MPixel, more than the '
            f'{limit / 1e6:,.0f} that are read; cut it into tiles, or raise the limit by the '
            f'environment variable {variable}.'
        )
    if pixels * bytes_per_pixel > limit * _SAMPLE_BYTES:
        raise DataError(
            f'{where}: {width} x {height} pixels of {bytes_per_pixel} bytes are '
            f'{pixels * bytes_per_pixel / 2**30:,.1f} GiB, more than the '
            f'{limit * _SAMPLE_BYTES / 2**30:,.1f} that are read; cut it into tiles, or raise the '
            f'limit by the environment variable {variable}.'
        )


def check_expansion(
    unpacked: int, packed: int, where: str | Path, error: type[Exception] = DataError
) -> None:
    """Refuses an archive that unpacks to much more than its size, because numbers do not compress
    so well."""
    if unpacked > max(100 * packed, 64 << 20):
        raise error(
            f'{where}: {packed:,} bytes unpack to {unpacked:,}; no file of this kind does, so it '
            'is not read.'
        )


def max_table_bytes() -> int:
    """Returns the largest number of bytes of the text of a compressed table."""
    return _setting('RS_MM_MAX_TABLE_BYTES', _TABLE_BYTES)


def check_inside(name: str, where: str | Path) -> str:
    """Refuses a name in a table or manifest that leads out of its data folder.

    Links are followed, because their author has access to the targets.

    Returns: The name.

    Raises:
        DataError: the name is absolute or leaves the folder by ``..``; ``RS_MM_OUTSIDE_PATHS=1``
            allows it.
    """
    text = str(name)
    absolute = text.startswith(('/', '\\', '~')) or PureWindowsPath(text).is_absolute()
    depth = 0
    for part in PurePosixPath(text.replace('\\', '/')).parts:
        depth += {'..': -1, '.': 0}.get(part, 1)
        absolute = absolute or depth < 0
    if '\0' in text:
        raise DataError(f'{where}: the name {text!r} is not a file name.')
    if absolute and os.environ.get('RS_MM_OUTSIDE_PATHS', '0') != '1':
        raise DataError(
            f'{where}: the name {text!r} leads out of the data folder; set the environment '
            'variable RS_MM_OUTSIDE_PATHS=1 if it is meant so.'
        )
    return name


def check_entries(content: Any, where: str | Path, limit: int = 100_000) -> None:
    """Refuses nested data with too many entries, where each reference counts.

    A few lines of YAML with references can expand to billions of entries, or contain themselves.

    Raises:
        ConfigError: there are more than ``limit`` entries.
    """
    count, waiting = 0, [content]
    while waiting:
        value = waiting.pop()
        parts = value.values() if isinstance(value, dict) else value
        if isinstance(value, (dict, list, tuple, set)):
            count += len(value)
            waiting.extend(parts)
        if count > limit:
            raise ConfigError(
                f'{where} stands for more than {limit:,} settings by its references (&name and '
                '*name); it is not a config.'
            )


def _setting(variable, default):
    text = os.environ.get(variable)
    if text is None:
        return default
    try:
        return int(text)
    except ValueError:
        raise ConfigError(
            f'the environment variable {variable}={text} is not a whole number.'
        ) from None
