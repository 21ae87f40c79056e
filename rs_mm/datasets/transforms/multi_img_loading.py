"""Loading of bitemporal images and change labels."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine import fileio

from rs_mm.errors import DataError, MissingFileError, RSMMError
from rs_mm.rasters.reading import finite
from rs_mm.rasters.values import check_value_range, stretch
from rs_mm.rasters.whole import check_header, check_jpeg_end
from rs_mm.registry import TRANSFORMS

from ..label_maps import IGNORE, read_label_map
from ..pictures import Picture, check_eight_bits, choose_bands, is_jpeg, read_picture
from .multi_img_base import keep_band_axis


def _check_same_size(images, paths):
    sizes = [image.shape[:2] for image in images]
    if len(set(sizes)) > 1:
        listed = ', '.join(f'{path} is {h} x {w}' for path, (h, w) in zip(paths, sizes))
        raise DataError(f'the dates of a pair must have the same height and width, but {listed}.')


def _set_images(results, images, pictures=()):
    """Notes where a date has no data; MultiImgLoadAnnotations leaves these pixels out."""
    masks = [picture.valid for picture in pictures if picture.valid is not None]
    if masks:
        results['valid'] = np.logical_and.reduce(masks)
        results['trouble'] = [picture.trouble for picture in pictures if picture.stray]
    results['img'] = [keep_band_axis(image) for image in images]
    results['img_shape'] = results['ori_shape'] = images[0].shape[:2]
    return results


@TRANSFORMS.register_module()
class MultiImgLoadImageFromFile(LoadImageFromFile):
    """Reads the 8-bit images of all dates named in ``results['img_path']``, a list of paths.

    Sets ``img`` (list of (H, W, 3) uint8 BGR arrays), ``img_shape`` and ``ori_shape`` ((H, W) of
    date 1). Takes the arguments of mmcv's ``LoadImageFromFile``. An entry of ``img_path`` that is
    already an array is used as it is, so pairs in memory can use the same pipeline. Pixels without
    data (nodata value, mask, transparent) get the mean colour of the other pixels and are left out
    of the label.

    Raises:
        MissingFileError: a file does not exist.
        DataError: a file is not a readable image, has more than 8 bits or a number of bands other
            than one or three (:class:`MultiImgLoadTiff` keeps them), or the dates differ in size.
    """

    def transform(self, results: dict) -> dict:
        paths = results['img_path']
        pictures = [self._read(path) for path in paths]
        images = [picture.filled() for picture in pictures]
        if self.to_float32:
            images = [image.astype(np.float32) for image in images]
        _check_same_size(
            images, [p if isinstance(p, str) else f'date {i + 1}' for i, p in enumerate(paths)]
        )
        return _set_images(results, images, pictures)

    def _read(self, path):
        if isinstance(path, np.ndarray):
            return Picture('an array', path)
        return decode(path, self.color_type, self.imdecode_backend, self.backend_args)


@TRANSFORMS.register_module()
class MultiImgLoadTiff(BaseTransform):
    """Reads dates with any number of bands and any depth (TIFF, GeoTIFF, or a common image).

    Pixels without data (nodata value, mask, transparent, NaN or infinite) get the mean of their
    band's other pixels and are left out of the label.

    Args:
        bands: bands to keep, counted from 0, in this order. The preprocessor's ``bgr_to_rgb``
            reverses three bands, so list them as B, G, R. Default: all bands as stored, without
            alpha.
        value_range: these values become 0 and 255 (uint8), values
            outside are clipped. Default: uint8 is unchanged, other types become float32.

    Raises:
        MissingFileError: a file does not exist.
        DataError: a file is unreadable or lacks a band, has no pixel with data, or the dates
            differ in size.
    """

    def __init__(
        self, bands: list[int] | None = None, value_range: tuple[float, float] | None = None
    ) -> None:
        check_value_range(value_range)
        self.bands = bands
        self.value_range = value_range

    def transform(self, results: dict) -> dict:
        paths = results['img_path']
        pictures = [self._read(path) for path in paths]
        images = [self._convert(picture.filled()) for picture in pictures]
        _check_same_size(
            images, [p if isinstance(p, str) else f'date {i + 1}' for i, p in enumerate(paths)]
        )
        return _set_images(results, images, pictures)

    def _read(self, path):
        if not isinstance(path, np.ndarray):
            return read_picture(path, self.bands)
        array = choose_bands(path, self.bands)
        good = finite(array)
        return Picture('an array', array, good, int((~good).sum()))

    def _convert(self, image):
        if self.value_range is not None:
            return stretch(image, *self.value_range)
        return image if image.dtype == np.uint8 else image.astype(np.float32)

    def __repr__(self):
        return f'{type(self).__name__}(bands={self.bands}, value_range={self.value_range})'


@TRANSFORMS.register_module()
class MultiImgLoadImageFromNDArray(BaseTransform):
    """A loading step for pairs in memory, which takes ``results['img']``, a list of (H, W, C)
    arrays."""

    def __init__(self, to_float32: bool = False) -> None:
        self.to_float32 = to_float32

    def transform(self, results: dict) -> dict:
        images = results['img']
        if self.to_float32:
            images = [image.astype(np.float32) for image in images]
        names = [f'date {i + 1}' for i in range(len(images))]
        _check_same_size(images, names)
        results.setdefault('img_path', names)
        return _set_images(results, images)

    def __repr__(self):
        return f'{type(self).__name__}(to_float32={self.to_float32})'


@TRANSFORMS.register_module()
class MultiImgLoadAnnotations(BaseTransform):
    """Reads the change label ``results['seg_map_path']``.

    Sets ``gt_seg_map``, (H, W) uint8, and adds it to ``seg_fields``. With
    ``results['format_seg_map'] == 'to_binary'`` a brightness below 128 becomes 0, else 1. Otherwise
    the file holds class numbers (for a palette, its indices). ``results['label_values']``, if the
    dataset gives it, lists the values that a label file may hold.
    :func:`~rs_mm.datasets.label_maps.read_label_map` reads the file, as for all datasets.

    Pixels of ``results['valid']`` (from loading) that hold no data at one of the dates become 255.

    Args:
        reduce_zero_label: class 0 becomes 255 and the others move down by one.
            Default: the setting of the dataset.
        imdecode_backend: decoder of mmcv.
        backend_args: arguments of mmengine's file backend.

    Raises:
        MissingFileError: the label does not exist.
        DataError: the pair has no label, or its label is unreadable, has another size than the
            images (``ori_shape``), or holds values that the dataset does not allow.
    """

    def __init__(
        self,
        reduce_zero_label: bool | None = None,
        imdecode_backend: str = 'pillow',
        backend_args: dict | None = None,
    ) -> None:
        self.reduce_zero_label = reduce_zero_label
        self.imdecode_backend = imdecode_backend
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        path = results.get('seg_map_path')
        if path is None:
            raise DataError(
                'MultiImgLoadAnnotations: this pair has no label; name seg_map_path in '
                'data_prefix, or predict without labels by tools/predict_change.py.'
            )
        binary = results.get('format_seg_map') == 'to_binary'
        with _local(path, self.backend_args, 'image file') as local:
            # a dataset with known label values refuses colours, which would be read as classes
            unknown = results.get('label_values') is None
            label = read_label_map(local, binary, self.imdecode_backend, luminance=unknown)
        self._check(label, path, results)
        label = label.astype(np.uint8, copy=False)
        if binary:
            label = (label >= 128).view(np.uint8)
        reduce = self.reduce_zero_label
        if reduce or (reduce is None and results.get('reduce_zero_label')):
            label = np.where((label == 0) | (label == 255), 255, label - 1).astype(np.uint8)
        if results.get('label_map') is not None:
            table = np.arange(256, dtype=np.uint8)
            for old, new in results['label_map'].items():
                table[old] = new
            label = table[label]
        if results.get('valid') is not None:
            label = np.where(results['valid'], label, np.uint8(IGNORE))
        results['gt_seg_map'] = label
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results

    def _check(self, label, path, results):
        expected = results.get('ori_shape')
        if expected is not None and label.shape != tuple(expected[:2]):
            raise DataError(
                f'label {path} is {label.shape[0]} x {label.shape[1]}, but its images '
                f'are {expected[0]} x {expected[1]}.'
            )
        allowed = results.get('label_values')
        if allowed is None:
            if label.dtype != np.uint8 and (label.astype(np.uint8) != label).any():
                raise DataError(f'label {path} holds values outside 0 .. 255; correct the file.')
            return
        # a comparison with the few allowed values is faster than a count of all values
        known = np.zeros(label.shape, bool)
        for value in allowed:
            known |= label == value
        if not known.all():
            unknown = np.unique(label[~known])
            listed = ', '.join(map(str, unknown[:8])) + (', ...' if unknown.size > 8 else '')
            raise DataError(
                f'label {path} holds the values {listed}, but only {list(allowed)} are expected '
                f'with format_seg_map={results.get("format_seg_map")!r}; mend the file, or set '
                "`format_seg_map` ('to_binary' for 0/255, None for 0/1) or `label_values` of the "
                'dataset (with 255, where that is to be ignored).'
            )

    def __repr__(self):
        return (
            f'{type(self).__name__}(reduce_zero_label={self.reduce_zero_label}, '
            f'imdecode_backend={self.imdecode_backend!r})'
        )


def decode(path: str, flag: str, backend: str, backend_args: dict | None = None) -> Picture:
    """Reads one image of 8 bits in mmcv's order of bands.

    Args:
        path: path or URI of the file.
        flag: ``color``, ``grayscale`` or ``unchanged`` (of any depth).
        backend: mmcv's name of the decoder of JPEG (``cv2``, ``pillow``, ``turbojpeg``).
        backend_args: arguments of mmengine's file backend.

    Returns:
        (H, W, C) in the order B, G, R, or (H, W).
    """
    with _local(path, backend_args, 'image file') as local:
        if is_jpeg(local):
            return Picture(path, _decode_jpeg(local, path, flag, backend))
        picture = read_picture(local)
    picture.path, array = path, picture.array
    if flag != 'unchanged':
        check_eight_bits(
            array,
            path,
            'MultiImgLoadImageFromFile',
            "use type='MultiImgLoadTiff' in train_pipeline and test_pipeline, with `bands` and, "
            'for a model that expects 0 to 255, `value_range`',
        )
    if array.shape[2] == 3:
        array = array[..., ::-1]
    if flag == 'color':
        array = np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array
    elif array.shape[2] == 3 and flag == 'grayscale':
        array = cv2.cvtColor(np.ascontiguousarray(array), cv2.COLOR_BGR2GRAY)
    elif array.shape[2] == 1:
        array = array[..., 0]
    picture.array = np.ascontiguousarray(array)
    return picture


def _decode_jpeg(local, path, flag, backend):
    content = Path(local).read_bytes()
    check_jpeg_end(content, path)
    check_header(content, path)
    try:
        image = mmcv.imfrombytes(content, flag=flag, backend=backend)
    except Exception as error:  # every decoder has its own exception types
        raise DataError(f'{path} is not a readable image ({error}).') from error
    if image is None:
        raise DataError(f'{path} is not a readable image (damaged, empty or of unknown format).')
    return image


@contextlib.contextmanager
def _local(path, backend_args, what):
    """Returns the local file, or a local copy of a remote file."""
    try:
        with fileio.get_local_path(path, backend_args=backend_args) as local:
            if not Path(local).is_file():
                raise MissingFileError(f'{what} {path} does not exist.')
            yield str(local)
    except RSMMError as error:
        # a message names the remote address, not the copy
        raise type(error)(str(error).replace(str(local), str(path))) from error
