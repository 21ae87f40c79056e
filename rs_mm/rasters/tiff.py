"""Opening TIFF files with tifffile, without its messages and with limits for small files."""

from __future__ import annotations

import contextlib
import logging
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rs_mm.errors import DataError, MissingFileError
from rs_mm.limits import check_pixels

_PAGES = 1000  # a picture has a few: overviews and masks
_TAGS = 20_000  # of all pages together; tifffile takes some 20 microseconds for each
_BANDS = 5000  # imaging spectrometers have hundreds; GDAL takes a millisecond for each
_SAMPLES_PER_PIXEL = 277  # the tag with the number of bands


@contextlib.contextmanager
def open_tiff(path: str | Path) -> Iterator[Any]:
    """Opens a TIFF as ``tifffile.TiffFile``.

    Errors, also inside the ``with`` block, become one sentence.

    Raises:
        MissingFileError: the file does not exist.
        DataError: the file is damaged, or has too many directories.
    """
    import tifffile

    _check_directories(path)
    log = logging.getLogger('tifffile')  # tifffile warns about tags of GDAL that are not needed
    before, log.disabled = log.disabled, True
    try:
        with tifffile.TiffFile(path) as file:
            yield file
    except (DataError, MemoryError):
        raise
    except Exception as error:  # tifffile and its codecs raise many types for a damaged file
        raise DataError(f'{path}: the TIFF cannot be decoded ({error}).') from error
    finally:
        log.disabled = before


def read_page(file: Any, page: Any, path: str | Path, windowed: bool = False) -> np.ndarray:
    """Returns the stored numbers of a page: (H, W) or (H, W, C).

    Args:
        file: result of :func:`open_tiff`.
        page: one of its pages.
        path: the file, for the message.
        windowed: whether the limit of scenes applies instead of the limit of pictures.

    Raises:
        DataError: the file ends before the page, or the page has more pixels than the limit.
    """
    ends = [start + count for start, count in zip(page.dataoffsets, page.databytecounts)]
    if ends and max(ends) > file.filehandle.size:
        missing = max(ends) - file.filehandle.size
        raise DataError(f'{path}: the TIFF cannot be decoded (it ends {missing} bytes too early).')
    size = page.samplesperpixel * (page.dtype.itemsize if page.dtype else 1)
    check_pixels(page.imagelength, page.imagewidth, path, size, windowed)
    array = page.asarray()
    return np.moveaxis(array, 0, -1) if array.ndim == 3 and page.planarconfig == 2 else array


def _check_directories(path):
    """Counts the directories of the chain, which a few bytes can make endless."""
    pages = tags = 0
    try:
        with open(path, 'rb') as file:
            head = file.read(16)
            order = '<' if head[:2] == b'II' else '>'
            big = head[2:4] in (b'+\0', b'\0+')
            counts, entry, offsets = ('Q', 20, 'Q') if big else ('H', 12, 'I')
            at = _number(head[8:16] if big else head[4:8], order + offsets)
            while at:
                file.seek(at)
                count = _number(file.read(struct.calcsize(counts)), order + counts)
                pages, tags = pages + 1, tags + count
                if pages > _PAGES or tags > _TAGS:
                    what = f'{_PAGES:,} pages' if pages > _PAGES else f'{_TAGS:,} tags'
                    raise DataError(
                        f'{path}: the TIFF holds more than {what}, or they refer to each other; '
                        'write one picture to a file.'
                    )
                bands = _bands(file.read(count * entry), entry, order, offsets)
                if bands > _BANDS:
                    raise DataError(
                        f'{path}: the TIFF says that it has {bands:,} bands; more than {_BANDS:,} '
                        'are not read.'
                    )
                at = _number(file.read(struct.calcsize(offsets)), order + offsets)
    except FileNotFoundError as error:
        raise MissingFileError(f'{path}: no such image.') from error
    except OSError as error:  # also for an impossible offset
        raise DataError(f'{path}: the TIFF cannot be decoded ({error.strerror}).') from error


def _bands(entries, entry, order, offsets):
    """Returns what the directory says of the number of bands; 1 if it says nothing."""
    padded = entries + bytes(entry)  # the file may end within an entry
    for at in range(0, len(entries), entry):
        tag, kind = struct.unpack_from(order + 'HH', padded, at)
        if tag == _SAMPLES_PER_PIXEL:
            form = {3: 'H', 4: 'I', 16: 'Q'}.get(kind, 'B')
            return struct.unpack_from(order + form, padded, at + 4 + struct.calcsize(offsets))[0]
    return 1


def _number(content, form):
    return struct.unpack(form, content)[0] if len(content) == struct.calcsize(form) else 0
