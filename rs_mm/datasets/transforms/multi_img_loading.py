"""Loading of bitemporal images and change labels."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import cv2
import mmcv
import numpy as np
from mmcv.transforms import BaseTransform, LoadImageFromFile
from mmengine import fileio
from PIL import Image

from rs_mm.errors import DataError, MissingFileError
from rs_mm.rasters.values import check_value_range, select_bands, stretch
from rs_mm.registry import TRANSFORMS

from ..png import decode_plain_png
from .band_images import read_image
from .multi_img_base import keep_band_axis


def _check_same_size(images, paths):
    sizes = [image.shape[:2] for image in images]
    if len(set(sizes)) > 1:
        listed = ', '.join(f'{path} is {h} x {w}' for path, (h, w) in zip(paths, sizes))
        raise DataError(f'the dates of a pair must have the same height and width, but {listed}.')


def _set_images(results, images):
    results['img'] = [keep_band_axis(image) for image in images]
    results['img_shape'] = results['ori_shape'] = images[0].shape[:2]
    return results


@TRANSFORMS.register_module()
class MultiImgLoadImageFromFile(LoadImageFromFile):
    """Reads the images of all dates named in ``results['img_path']``, a list of paths.

    Sets ``img`` (list of (H, W, 3) uint8 BGR arrays), ``img_shape`` and ``ori_shape`` ((H, W) of
    date 1). Takes the arguments of mmcv's ``LoadImageFromFile``. An entry of ``img_path`` that is
    already an array is taken as it is, so that pairs in memory go through the same pipeline.

    Raises:
        MissingFileError: a file does not exist.
        DataError: a file is not a readable image, or the dates differ in size.
    """

    def transform(self, results: dict) -> dict:
        paths = results['img_path']
        images = [self._read(path) for path in paths]
        _check_same_size(
            images, [p if isinstance(p, str) else f'date {i + 1}' for i, p in enumerate(paths)]
        )
        return _set_images(results, images)

    def _read(self, path):
        if isinstance(path, np.ndarray):
            image = path
        else:
            image = decode(path, self.color_type, self.imdecode_backend, self.backend_args)
        return image.astype(np.float32) if self.to_float32 else image


@TRANSFORMS.register_module()
class MultiImgLoadTiff(BaseTransform):
    """Reads dates with any number of bands and any depth (TIFF, GeoTIFF, or a common image).

    Args:
        bands: bands to keep, counted from 0, in this order. The
            preprocessor's ``bgr_to_rgb`` turns three bands around: list them as B, G, R. Default:
            all bands as stored.
        value_range: these values become 0 and 255 (uint8), values
            outside are clipped. Default: uint8 stays as it is, everything else becomes float32.

    Raises:
        MissingFileError: a file does not exist.
        DataError: a file is unreadable or lacks a band, or the dates differ in size.
    """

    def __init__(
        self, bands: list[int] | None = None, value_range: tuple[float, float] | None = None
    ) -> None:
        check_value_range(value_range)
        self.bands = bands
        self.value_range = value_range

    def transform(self, results: dict) -> dict:
        paths = results['img_path']
        images = [self._read(path) for path in paths]
        _check_same_size(images, paths)
        return _set_images(results, images)

    def _read(self, path):
        image = select_bands(read_image(path), self.bands, path)
        if self.value_range is not None:
            return stretch(image, *self.value_range)
        return image if image.dtype == np.uint8 else image.astype(np.float32)

    def __repr__(self):
        return f'{type(self).__name__}(bands={self.bands}, value_range={self.value_range})'


@TRANSFORMS.register_module()
class MultiImgLoadImageFromNDArray(BaseTransform):
    """For pairs in memory: takes ``results['img']``, a list of (H, W, C) arrays, as loaded."""

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
    """Reads the change label ``results['seg_map_path']`` as 8-bit grey (luminance).

    A deeper file is accepted where its values are those of an 8-bit one.

    Sets ``gt_seg_map``, (H, W) uint8, and adds it to ``seg_fields``. With
    ``results['format_seg_map'] == 'to_binary'`` grey levels below 128 become 0 and the others 1;
    otherwise grey levels are class indices. ``results['label_values']``, where the dataset gives
    it, lists the grey levels a label file may hold.

    Args:
        reduce_zero_label: class 0 becomes 255 and the others move down by one.
            Default: what the dataset says.
        imdecode_backend: decoder of mmcv.
        backend_args: arguments of mmengine's file backend.

    Raises:
        MissingFileError: the label does not exist.
        DataError: there is no label, or it is unreadable, has another size than the images
            (``ori_shape``), or holds values that the dataset does not know.
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
        label = decode_label(path, self.imdecode_backend, self.backend_args).squeeze()
        self._check(label, path, results)
        label = label.astype(np.uint8, copy=False)
        if results.get('format_seg_map') == 'to_binary':
            label = (label >= 128).view(np.uint8)
        reduce = self.reduce_zero_label
        if reduce or (reduce is None and results.get('reduce_zero_label')):
            label = np.where((label == 0) | (label == 255), 255, label - 1).astype(np.uint8)
        if results.get('label_map') is not None:
            table = np.arange(256, dtype=np.uint8)
            for old, new in results['label_map'].items():
                table[old] = new
            label = table[label]
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
                raise DataError(f'label {path} holds values beyond 0 .. 255; mend the file.')
            return
        # comparing with the few values is faster than counting all
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
                'dataset.'
            )

    def __repr__(self):
        return (
            f'{type(self).__name__}(reduce_zero_label={self.reduce_zero_label}, '
            f'imdecode_backend={self.imdecode_backend!r})'
        )


def decode(path: str, flag: str, backend: str, backend_args: dict | None = None) -> np.ndarray:
    """Reads and decodes one image file with mmcv, or says which file cannot be read.

    Args:
        path: path or URI of the file.
        flag: ``color``, ``grayscale`` or ``unchanged``.
        backend: decoder of mmcv (``cv2``, ``pillow``, ``tifffile``, ...).
        backend_args: arguments of mmengine's file backend.

    Returns:
        (H, W, C) or (H, W).
    """
    return _decode(_read(path, backend_args), path, flag, backend)


def decode_label(path: str | Path, backend: str, backend_args: dict | None = None) -> np.ndarray:
    """Reads a label as grey levels: (H, W), uint8, or of its own type where the file is deeper.

    For the arguments see :func:`decode`. The decoders of mmcv clip deep levels or divide them.
    """
    content = _read(path, backend_args)
    if backend in ('cv2', 'pillow'):
        unreadable = (OSError, Image.DecompressionBombError)  # left to the decoder
        with contextlib.suppress(*unreadable), Image.open(io.BytesIO(content)) as image:
            if image.mode.startswith(('I', 'F')):
                return np.asarray(image)
    return _decode(content, path, 'grayscale', backend)


def _read(path, backend_args):
    try:
        return fileio.get(path, backend_args=backend_args)
    except FileNotFoundError as error:
        raise MissingFileError(f'image file {path} does not exist.') from error


def _decode(content, path, flag, backend):
    image = _decode_plain(content, flag) if backend in ('cv2', 'pillow') else None
    if image is not None:
        return image
    try:
        image = mmcv.imfrombytes(content, flag=flag, backend=backend)
    except Exception as error:  # every decoder has its own exception types
        raise DataError(f'{path} is not a readable image ({error}).') from error
    if image is None:
        raise DataError(f'{path} is not a readable image (damaged, empty or of unknown format).')
    return image


def _decode_plain(content, flag):
    """An ordinary PNG as mmcv's decoders give it; None if it is another file."""
    if flag == 'color':
        image = decode_plain_png(content, bands=3)
        return None if image is None else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return decode_plain_png(content, bands=1) if flag == 'grayscale' else None
