"""The reader of label maps for all datasets.

A label map holds numbers, and the numbers in the file count: the indices of a palette, or 0 and 1
of a one-bit mask. The polarity that a TIFF states for its display is ignored. For binary labels in
black and white, ``grey=True`` returns the brightness instead.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from rs_mm.errors import DataError, MissingFileError
from rs_mm.rasters.describe import TIFF_SUFFIXES, tiff_facts
from rs_mm.rasters.orientation import picture_orientation
from rs_mm.rasters.tiff import open_tiff, read_page
from rs_mm.rasters.whole import check_header, check_whole, open_by_pillow

from .pictures import is_jpeg
from .png import decode_plain_png

IGNORE = 255
_NODATA = 42113
_NO_NUMBERS = (5, 8, 9, 10)  # CMYK and Lab: neither numbers nor a brightness without conversion
_PILLOW = ('.png', '.bmp', '.gif', '.webp', '.ppm', '.pgm', '.pbm')
_LUMINANCE = np.array([19595, 38470, 7471], np.int64)  # Pillow's ITU-R 601


def read_label_map(
    path: str | Path, grey: bool = False, decoder: str = 'pillow', luminance: bool = False
) -> np.ndarray:
    """Reads a label map.

    Args:
        path: the file.
        grey: brightness from 0 to 255 instead of class numbers: the colours of a palette are used,
            1 in a one-bit mask is 255, and the luminance of a colour image.
        decoder: mmcv's name of the decoder of JPEG.
        luminance: whether the luminance of a colour image is used as class number, as published
            code does.

    Returns:
        (H, W), uint8, or the file's own type if it is wider. Pixels without data
        are 255.

    Raises:
        MissingFileError: the file does not exist.
        DataError: the file is damaged, or not a map of numbers: it has colours, several pages,
            transparent parts, or a nodata value that is a class number.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise MissingFileError(f'{path}: no such label map.') from error
    except OSError as error:
        raise DataError(f'{path}: the label map cannot be read ({error.strerror}).') from error
    plain = decode_plain_png(content, 1, path)
    if plain is not None:
        return plain
    check_whole(path)
    colours = grey or luminance
    suffix = Path(path).suffix.lower()
    if is_jpeg(path):
        return _from_jpeg(content, path, decoder)
    if suffix in TIFF_SUFFIXES:
        return _from_tiff(Path(path), grey, colours)
    if suffix in _PILLOW or not suffix:
        return _from_pillow(content, path, grey, colours)
    return _from_raster(path, grey, colours)


def _from_jpeg(content, path, decoder):
    import mmcv

    check_header(content, path)
    try:
        label = mmcv.imfrombytes(content, flag='grayscale', backend=decoder)
    except Exception as error:  # every decoder has its own exception types
        raise _damaged(path, error) from error
    if label is None:
        raise _damaged(path, 'damaged or no JPEG')
    return label.squeeze()


def _from_pillow(content, path, grey, colours):
    try:
        with open_by_pillow(io.BytesIO(content), path) as image:
            frames = getattr(image, 'n_frames', 1)
            image.load()
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise many types for a damaged file
        raise _damaged(path, 'damaged or of unknown format') from error
    if frames > 1:
        raise DataError(f'{path}: it holds {frames} frames; write the frame to use to a file.')
    if image.mode in ('RGBA', 'LA', 'PA') or 'transparency' in image.info:
        alpha = np.asarray(image.convert('RGBA'))[..., 3]
        _refuse_transparent(alpha, path)
    if picture_orientation(path) != 1:
        raise DataError(f'{path}: its EXIF says that it is to be turned; write it upright.')
    mode = image.mode
    if mode in ('P', 'PA') and not grey:
        return np.asarray(image.convert('P') if mode == 'PA' else image)
    if mode == '1':
        return np.asarray(image).astype(np.uint8) * np.uint8(255 if grey else 1)
    if mode in ('L', 'LA'):
        return np.asarray(image.convert('L'))
    if mode.startswith(('I', 'F')):
        return np.asarray(image)
    return _from_colours(np.asarray(image.convert('RGB')), path, colours)


def _from_tiff(path, grey, colours):
    facts = tiff_facts(path)
    if facts['pages'] > 1:
        raise DataError(f'{path}: it holds {facts["pages"]} pages; write one label map to a file.')
    if facts['orientation'] != 1:
        raise DataError(
            f'{path}: it is to be turned (TIFF orientation {facts["orientation"]}); write the '
            'label map upright.'
        )
    with open_tiff(path) as file:
        page = file.pages[facts['page'] - 1]
        array = read_page(file, page, path)
        extra = [int(kind) for kind in page.extrasamples or ()]
        one_bit, palette = page.bitspersample == 1, page.colormap
        if int(page.photometric) in _NO_NUMBERS:
            raise DataError(
                f'{path}: its colour space is {page.photometric.name}; write the label map as a '
                'grey picture or with a palette.'
            )
        tag = page.tags.get(_NODATA)
    if array.ndim == 3:
        if any(kind in (1, 2) for kind in extra):
            _refuse_transparent(array[..., array.shape[2] - len(extra)], path)
            array = array[..., : array.shape[2] - len(extra)]
        array = array[..., 0] if array.shape[2] == 1 else _from_colours(array, path, colours)
    if array.dtype.kind == 'c':
        raise DataError(f'{path}: its pixels are complex numbers ({array.dtype}), no labels.')
    if one_bit:
        array = array.astype(np.uint8) * np.uint8(255 if grey else 1)
    elif palette is not None and grey:
        table = (np.asarray(palette) >> 8).astype(np.int64).T
        array = _luminance(table)[array]
    return _without_nodata(array, _number(tag), path)


def _from_raster(path, grey, colours):
    from rs_mm.rasters import open_raster

    with open_raster(path) as raster:
        info, pixels = (
            raster.info,
            raster.read(stored=not (grey and raster.info.palette is not None)),
        )
        if info.alpha is not None:
            _refuse_transparent(raster.read([info.alpha]).array[..., 0], path)
    array = pixels.array
    array = array[..., 0] if array.shape[2] == 1 else _from_colours(array, path, colours)
    array = _without_nodata(array, info.nodata[0] if info.nodata else None, path)
    return array if pixels.valid.all() else _ignored(array, ~pixels.valid)


def _without_nodata(array, nodata, path):
    """Sets pixels without data to IGNORE; refuses a file that declares a class as nodata."""
    empty = ~np.isfinite(array) if array.dtype.kind == 'f' else np.zeros(array.shape, bool)
    if nodata is not None and not np.isnan(nodata):
        found = array == nodata
        if 0 <= nodata < IGNORE and found.any():
            raise DataError(
                f'{path}: it declares {nodata:g} as nodata, which is a class number as well; '
                'remove the declaration (gdal_edit.py -unsetnodata) if these pixels are labelled, '
                f'or give them the value {IGNORE}.'
            )
        empty |= found
    return _ignored(array, empty) if empty.any() else array


def _ignored(array, where):
    array = array.astype(np.float64 if array.dtype.kind == 'f' else np.int64)
    array[where] = IGNORE
    return array


def _from_colours(array, path, allowed):
    """Returns one of several equal bands, or the luminance of different bands if it is allowed."""
    if array.shape[2] == 3 and (array == array[..., :1]).all():
        return array[..., 0]
    if allowed and array.shape[2] == 3 and array.dtype == np.uint8:
        return _luminance(array)
    what = 'a colour picture' if array.shape[2] == 3 else f'{array.shape[2]} bands'
    raise DataError(
        f'{path}: it is {what}, not a map of class numbers; write a number for each colour '
        '(tools/dataset_converters/isaid_patches.py does so for iSAID).'
    )


def _luminance(colours):
    return ((colours.astype(np.int64) @ _LUMINANCE + 0x8000) >> 16).astype(np.uint8)


def _refuse_transparent(alpha, path):
    if alpha.size and alpha.min() != alpha.max() or alpha.size and not alpha.max():
        raise DataError(
            f'{path}: its transparency says something else than its colours; write the label map '
            'without an alpha channel.'
        )


def _damaged(path, error):
    return DataError(f'{path} is not a readable image ({error}).')


def _number(tag):
    try:
        return None if tag is None else float(str(tag.value).strip().rstrip('\0'))
    except ValueError:
        return None
