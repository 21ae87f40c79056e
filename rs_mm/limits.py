"""How much one file may ask for: the limits that every reader applies, in one place.

A file of a few kilobytes can state, or unpack to, more than a machine has memory. Every reader
asks here before it unpacks anything. No limit meets real data; each can be raised by an
environment variable, which also reaches the workers of a data loader.

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

_PIXELS = (1 << 29) // 3  # where Pillow refuses an image, too
_SCENE_PIXELS = 1 << 40
_TABLE_BYTES = 256 << 20
_SAMPLE_BYTES = 24  # of one pixel on average: 12 bands of 16 bits, 6 of 32


def max_pixels(windowed: bool = False) -> int:
    """The pixels that an image may have; ``windowed``: of a raster that is read in windows."""
    if windowed:
        return _setting('RS_MM_MAX_SCENE_PIXELS', _SCENE_PIXELS)
    return _setting('RS_MM_MAX_PIXELS', _PIXELS)


def check_pixels(
    height: int, width: int, where: str | Path, bytes_per_pixel: int = 3, windowed: bool = False
) -> None:
    """Refuses an image of more pixels than the limit, before anything of it is decoded.

    Args:
        height, width: size that the file's header states.
        where: the file, for the message.
        bytes_per_pixel: of all bands together; many of them count as more pixels.
        windowed: whether only windows of it are read.

    Raises:
        DataError: there are more.
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
    """Refuses an archive that unpacks to far more than it is: numbers do not compress so well."""
    if unpacked > max(100 * packed, 64 << 20):
        raise error(
            f'{where}: {packed:,} bytes unpack to {unpacked:,}; no file of this kind does, so it '
            'is not read.'
        )


def max_table_bytes() -> int:
    """The bytes that the text of a compressed table may have."""
    return _setting('RS_MM_MAX_TABLE_BYTES', _TABLE_BYTES)


def check_inside(name: str, where: str | Path) -> str:
    """Refuses a name that a table or manifest gives if it leads out of its data folder.

    Links are followed: whoever made them has access to what they point at.

    Returns:
        The name.

    Raises:
        DataError: it is absolute or climbs out by ``..``; with ``RS_MM_OUTSIDE_PATHS=1`` it may.
    """
    text = str(name)
    absolute = text.startswith(('/', '\\', '~')) or PureWindowsPath(text).is_absolute()
    depth = 0
    for part in PurePosixPath(text.replace('\\', '/')).parts:
        depth += {'..': -1, '.': 0}.get(part, 1)
        absolute = absolute or depth < 0
    if '\0' in text:
        raise DataError(f'{where}: the name {text!r} is no file name.')
    if absolute and os.environ.get('RS_MM_OUTSIDE_PATHS', '0') != '1':
        raise DataError(
            f'{where}: the name {text!r} leads out of the data folder; set the environment '
            'variable RS_MM_OUTSIDE_PATHS=1 if it is meant so.'
        )
    return name


def check_entries(content: Any, where: str | Path, limit: int = 100_000) -> None:
    """Refuses nested data whose entries, counted as often as they are referred to, are too many.

    A few lines of YAML that refer to each other can stand for billions of entries, or contain
    themselves.

    Raises:
        ConfigError: there are more than ``limit``.
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
                '*name); it is no config.'
            )


def _setting(variable, default):
    text = os.environ.get(variable)
    if text is None:
        return default
    try:
        return int(text)
    except ValueError:
        raise ConfigError(
            f'the environment variable {variable}={text} is no whole number.'
        ) from None
