"""Loading, augmenting, resizing and packing the images of an episode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.transforms import BaseTransform
from PIL import Image

from rs_mm.errors import ConfigError, DataError
from rs_mm.registry import TRANSFORMS
from rs_mm.structures import EpisodeDataSample

from ..label_maps import IGNORE, read_label_map
from ..pictures import read_rgb


def read_label(path: str | Path) -> np.ndarray:
    """Reads a label map of class numbers; see :func:`~rs_mm.datasets.label_maps.read_label_map`.

    Returns:
        (H, W) uint8.

    Raises:
        MissingFileError, DataError: as :func:`read_label_map`; also if a number is not from 0 to
            255.
    """
    label = read_label_map(path)
    if label.dtype == np.uint8:
        return label
    numbers = label.astype(np.uint8, copy=True)
    if (numbers != label).any():
        raise DataError(f'the label map {path} holds numbers outside 0 to 255.')
    return numbers


@TRANSFORMS.register_module()
class LoadEpisode(BaseTransform):
    """Reads the images and label maps of an episode.

    Needs ``query_files`` and ``support_files``, pairs of an image and a label map. Each may also be
    an array instead of a path, and the label map of the query None. Adds ``query_read``, a dict
    with ``img`` (H, W, 3) uint8 RGB and ``label`` (H, W) uint8 or None, and ``supports_read``, a
    list of such.
    """

    def transform(self, results: dict) -> dict:
        results['query_read'] = self._read(results['query_files'])
        results['supports_read'] = [self._read(files) for files in results['support_files']]
        return results

    @staticmethod
    def _read(files):
        image, label = files
        image = image if isinstance(image, np.ndarray) else read_rgb(image)
        if isinstance(label, (str, Path)):
            label = read_label(label)
        if label is not None and image.shape[:2] != label.shape:
            raise DataError(
                f'the image {_named(files[0])} is {_size(image)}, but its label map '
                f'{_named(files[1])} is {_size(label)} (width x height).'
            )
        return dict(img=image, label=label)


def _named(source):
    return 'in memory' if isinstance(source, np.ndarray) else source


def _size(array):
    return f'{array.shape[1]} x {array.shape[0]}'


@TRANSFORMS.register_module()
class RandomFlipRotateEpisode(BaseTransform):
    """Flips and rotates each image of an episode separately, before it is resized.

    Source: the published code of SCCNet, where this is off by default. The size stays the same, new
    pixels at the border are 0 (black, background), and both image and label are sampled with
    ``nearest``.

    Args:
        flip_prob: chance of a horizontal flip.
        max_angle: rotation is uniform in [-max_angle, max_angle] degrees.
    """

    def __init__(self, flip_prob: float = 0.5, max_angle: float = 30.0) -> None:
        self.flip_prob, self.max_angle = flip_prob, max_angle

    def transform(self, results: dict) -> dict:
        for item in (results['query_read'], *results['supports_read']):
            flip = np.random.random() < self.flip_prob
            angle = np.random.uniform(-self.max_angle, self.max_angle)
            for key in ('img', 'label'):
                if item[key] is None:  # a query without label
                    continue
                picture = Image.fromarray(item[key])
                if flip:
                    picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
                item[key] = np.asarray(picture.rotate(angle, Image.Resampling.NEAREST))
        return results


@TRANSFORMS.register_module()
class ResizeEpisode(BaseTransform):
    """Resizes all images of an episode to one size.

    Images: bilinear with antialiasing, as Pillow does. Labels: torch's ``nearest``, which takes the
    pixel at floor(i * old / new).

    Args:
        size: side of a square, or (height, width).
    """

    def __init__(self, size: int | tuple[int, int] = 256) -> None:
        size = (size, size) if isinstance(size, int) else size
        if len(size) != 2 or min(size) < 1:
            raise ConfigError(
                f'`size` of ResizeEpisode must be a side or (height, width), not {size}.'
            )
        self.size = size

    def transform(self, results: dict) -> dict:
        for item in (results['query_read'], *results['supports_read']):
            if item['img'].shape[:2] == self.size:  # patches mostly have this size already
                continue
            picture = Image.fromarray(item['img'])
            item['img'] = np.asarray(picture.resize(self.size[::-1], Image.Resampling.BILINEAR))
            if item['label'] is None:
                continue
            label = torch.from_numpy(np.ascontiguousarray(item['label']))[None, None]
            item['label'] = F.interpolate(label.float(), self.size)[0, 0].byte().numpy()
        return results


@TRANSFORMS.register_module()
class PackEpisode(BaseTransform):
    """Turns an episode into ``inputs`` and an :class:`EpisodeDataSample`.

    ``inputs`` has ``query`` (3, H, W) and ``support`` (K, 3, H, W), uint8 RGB. A query without
    label has no ``gt_mask``; an episode without supports has neither ``support`` nor masks.

    Raises:
        DataError: the supports differ in size.
    """

    def transform(self, results: dict) -> dict:
        query, supports, label = (results[k] for k in ('query_read', 'supports_read', 'class_id'))
        sample = EpisodeDataSample(
            metainfo=dict(
                class_id=label,
                class_name=results['class_name'],
                query_name=results['query'],
                support_names=results['supports'],
                query_path=results['query_files'][0],
                sample_idx=results['sample_idx'],
            ),
        )
        if query['label'] is not None:
            sample.gt_mask = _binary(query['label'], label + 1)
            sample.ignore = _binary(query['label'], IGNORE)
        inputs = dict(query=_channels_first(query['img']))
        if supports:
            images, labels = self._stack(supports, results['query'])
            sample.support_mask = _binary(labels, label + 1)
            sample.support_ignore = _binary(labels, IGNORE)
            inputs['support'] = _channels_first(images)
        return dict(inputs=inputs, data_samples=sample)

    @staticmethod
    def _stack(supports, query):
        sizes = {item['img'].shape[:2] for item in supports}
        if len(sizes) > 1:
            raise DataError(
                f'the supports of query {query} have different sizes '
                f'{sorted(sizes)}; put ResizeEpisode into the pipeline.'
            )
        return (np.stack([item[key] for item in supports]) for key in ('img', 'label'))


def _binary(labels, value):
    return torch.from_numpy((labels == value).astype(np.uint8))


def _channels_first(images):
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, -3)))
