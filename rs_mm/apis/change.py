"""Change detection from Python: two images in, a change map out; no config writing, no labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint

from rs_mm.datasets.raster import check_value_range, select_bands, stretch
from rs_mm.datasets.transforms.band_images import read_image
from rs_mm.datasets.wrapped_datasets import dataset_parts
from rs_mm.errors import ConfigError, DataError
from rs_mm.launch.checkpoint_fit import check_checkpoint
from rs_mm.launch.config import apply_options, load_config, prepare
from rs_mm.launch.device import pick_device
from rs_mm.registry import MODELS


@dataclass
class ChangeMap:
    """What :class:`ChangeDetector` finds.

    Args:
        mask (np.ndarray): (H, W) uint8 class indices; 0 is *unchanged*, 1 *changed*.
        probability (np.ndarray): (H, W) float32, 1 minus the probability of *unchanged*.
    """

    mask: np.ndarray
    probability: np.ndarray


class ChangeDetector:
    """A trained change-detection model, ready for pairs of images.

    Args:
        config (str | Path | Config): the config the model was trained with.
        checkpoint (str | Path, optional): its weights. Default: the random ones of a new model.
        device (str, optional): ``cpu``, ``cuda``, ``cuda:1``, ... Default: CUDA where it is there.
        options (dict | list[str], optional): overrides of the config, as for the tools.
        resize (bool): bring images to the size of the config's test pipeline, as its benchmark
            does. Default: predict at the images' own resolution.
        tile (int): images with a longer side are predicted in tiles of this size.
        margin (int): width of the rim of a tile that is predicted twice and dropped, where tiles
            meet. A multiple of 32 keeps the network's grid.

    Raises:
        MissingFileError, CheckpointError: the config or the checkpoint is absent or does not fit.
        ConfigError: an option names no key, or the machine has no such device.

    Examples:
        >>> from rs_mm.apis import ChangeDetector
        >>> detector = ChangeDetector('configs/DSQNet/....py', 'best_mIoU.pth')
        >>> mask = detector('2012.png', '2016.png').mask
    """

    def __init__(
        self,
        config,
        checkpoint=None,
        device=None,
        options=None,
        resize=False,
        tile=2048,
        margin=128,
    ):
        if not 0 <= 2 * margin < tile:
            raise ConfigError(f'tile ({tile}) must be larger than twice the margin ({margin}).')
        given = isinstance(config, Config)
        cfg = apply_options(config.copy(), options) if given else load_config(config, options)
        prepare(cfg)
        init_default_scope(cfg.get('default_scope', 'rs_mm'))
        self.device = pick_device(device)
        self.tile, self.margin = tile, margin
        self.model = MODELS.build(cfg.model)
        if checkpoint is not None:
            check_checkpoint(self.model, checkpoint)
            load_checkpoint(self.model, str(checkpoint), map_location='cpu')
        self.model.to(self.device).eval()
        self.pipeline = Compose(_pipeline_for_arrays(cfg, resize))

    def __call__(self, date1, date2, bands=None, value_range=None) -> ChangeMap:
        """Predicts the changes between two images of one size.

        Args:
            date1, date2 (str | Path | np.ndarray): files, or arrays (H, W, C) in RGB (file) order.
            bands (sequence[int], optional): the bands that serve as red, green, blue, from 0.
                Default: the first three, or the only band three times.
            value_range (tuple[float, float], optional): these values become black and white.
                Default: uint8 as it is; other types from the 2nd to the 98th percentile of both
                dates together, per band.

        Returns:
            ChangeMap: at the size of the images.

        Raises:
            DataError: the images differ in size, or have no such band.
        """
        images = [
            image if isinstance(image, np.ndarray) else read_image(str(image))
            for image in (date1, date2)
        ]
        images = to_rgb(images, bands, value_range)
        return self._predict([image[..., ::-1] for image in images])

    def _predict(self, images):
        height, width = images[0].shape[:2]
        mask = np.empty((height, width), np.uint8)
        probability = np.empty((height, width), np.float32)
        for (y0, y1), (top, bottom) in _tiles(height, self.tile, self.margin):
            for (x0, x1), (left, right) in _tiles(width, self.tile, self.margin):
                found = self._predict_tile([image[y0:y1, x0:x1] for image in images])
                inner = (slice(top - y0, bottom - y0), slice(left - x0, right - x0))
                mask[top:bottom, left:right] = found.mask[inner]
                probability[top:bottom, left:right] = found.probability[inner]
        return ChangeMap(mask, probability)

    @torch.no_grad()
    def _predict_tile(self, images):
        packed = self.pipeline(dict(img=[np.ascontiguousarray(image) for image in images]))
        batch = dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']])
        sample = self.model.test_step(batch)[0]
        probability = 1 - sample.seg_logits.data.softmax(0)[0]
        return ChangeMap(
            sample.pred_sem_seg.data[0].cpu().numpy().astype(np.uint8),
            probability.float().cpu().numpy(),
        )


def to_rgb(images, bands=None, value_range=None) -> list:
    """Brings a pair of any depth and number of bands to (H, W, 3) uint8 RGB.

    Args:
        images (list[np.ndarray]): (H, W) or (H, W, C), one per date.
        bands, value_range: see :meth:`ChangeDetector.__call__`.

    Raises:
        DataError: the images differ in size, or lack a band.
        ConfigError: ``value_range`` is empty.
    """
    check_value_range(value_range)
    images = [image[..., None] if image.ndim == 2 else image for image in images]
    (h1, w1), (h2, w2) = (image.shape[:2] for image in images)
    if (h1, w1) != (h2, w2):
        raise DataError(
            f'date 1 has {h1} x {w1} pixels and date 2 has {h2} x {w2}: both must show the same '
            'ground at the same size (cut both to what they share with --align ground, or with '
            '--align crop if they start at the same corner).'
        )
    if bands is None:
        bands = (0, 1, 2) if min(image.shape[2] for image in images) >= 3 else (0, 0, 0)
    images = [select_bands(image, bands, f'date {i + 1}') for i, image in enumerate(images)]
    if value_range is not None:
        return [stretch(image, *value_range) for image in images]
    if all(image.dtype == np.uint8 for image in images):
        return images
    # one stretch for both dates: a change of brightness between them stays visible
    step = max(1, images[0].shape[0] * images[0].shape[1] // 1_000_000)
    values = np.concatenate([image.reshape(-1, 3)[::step] for image in images])
    low, high = np.nanpercentile(values.astype(np.float32), (2, 98), axis=0)
    return [stretch(image, low, high) for image in images]


def _pipeline_for_arrays(cfg, resize):
    """The test pipeline without loading, labels and, unless asked for, resizing."""
    dataset = dataset_parts(cfg.test_dataloader.dataset)[0]
    dropped = ('MultiImgLoadImageFromFile', 'MultiImgLoadTiff', 'MultiImgLoadAnnotations')
    if not resize:
        dropped += ('MultiImgResize',)
    steps = [step for step in dataset['pipeline'] if step['type'].split('.')[-1] not in dropped]
    return [dict(type='MultiImgLoadImageFromNDArray'), *steps]


def _tiles(length, tile, margin):
    """Cuts one axis: ((start, end) to predict, (start, end) to keep), the kept ones side by side.

    The last tile is moved back to the border, so that all tiles of a long axis have one size.
    """
    if length <= tile:
        return [((0, length), (0, length))]
    inner = tile - 2 * margin
    tiles, kept = [], 0
    while kept < length:
        start = min(max(0, kept - margin), length - tile)
        end = length if start + tile >= length else start + margin + inner
        tiles.append(((start, start + tile), (kept, end)))
        kept = end
    return tiles
