"""The conversion of a test pipeline to the steps of the runner of an exported model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rs_mm.errors import ConfigError

# they do not change the pixels of an image to predict
_PASSED = ('PackEmbeddingInputs', 'PackEpisode', 'MultiImgPackSegInputs', 'MultiImgLoadAnnotations')


def steps_of(pipeline: Sequence[dict], preprocessor: Any) -> list[dict]:
    """Converts a test pipeline to steps from a file to the network's input.

    Args:
        pipeline: configs of the test pipeline, in order.
        preprocessor: the model's data preprocessor, which normalises last.

    Raises:
        ConfigError: a step cannot run without torch; the message names it.
    """
    steps: list[dict] = []
    for config in pipeline:
        kind = str(config['type']).rpartition('.')[2]
        if kind in _PASSED:
            continue
        if kind not in _KNOWN:
            raise ConfigError(
                f'the step {kind} of the test pipeline has no counterpart outside torch, so that '
                'images cannot be prepared for the exported model; leave it out of the pipeline.'
            )
        steps += _KNOWN[kind]({k: v for k, v in config.items() if k != 'type'})
    return [*steps, *_of_preprocessor(preprocessor)]


def _bands(config):
    return [dict(kind='bands', bands=_listed(config.get('bands')), count=config.get('num_bands'))]


def _rgb(config):
    return [dict(kind='rgb', bands=_listed(config.get('bands')))]


def _sentinel2(config):
    """Returns the step for a raster with the bands of the config, in their order."""
    from rs_mm.datasets.bigearthnet.dataset import LoadBigEarthNetPatch

    names = list(LoadBigEarthNetPatch(**config).bands)
    return [dict(kind='bands', bands=None, count=len(names), names=names)]


def _resize_bands(config):
    size = _pair(config['size'])
    return [dict(kind='resize', size=size, kernel=config.get('interpolation', 'area'), by='opencv')]


def _torchvision(config):
    found = []
    for op in config['ops']:
        if op['type'] != 'Resize' or not isinstance(op.get('size'), (list, tuple)):
            raise ConfigError(
                f'the step TorchvisionTransforms {op["type"]} has no counterpart outside torch; '
                'only Resize to (height, width) has one.'
            )
        kernel = str(op.get('interpolation', 'bilinear')).rpartition('.')[2].lower()
        found.append(dict(kind='resize', size=_pair(op['size']), kernel=kernel, by='torch'))
    return found


def _episode_resize(config):
    size = _pair(config.get('size', 256))
    return [dict(kind='resize', size=size, kernel='bilinear', by='pillow')]


def _scale(config):
    return [dict(kind='normalise', divisor=config.get('divisor', 255.0))]


def _normalise(config):
    order = -1 if config.get('reverse_statistics') else 1
    mean, std = (list(config[key])[::order] for key in ('mean', 'std'))
    return [dict(kind='normalise', mean=mean, std=std)]


def _open_clip(config):
    from inspect import signature

    from rs_mm.datasets.transforms import OpenCLIPPreprocess

    defaults = {k: v.default for k, v in signature(OpenCLIPPreprocess).parameters.items()}
    known = {**defaults, **config}
    side = known['size']
    resize = dict(kind='resize', kernel=known['interpolation'], by='pillow')
    if known['resize_mode'] == 'shortest':
        resize.update(shortest=side, crop=[side, side])
    elif known['resize_mode'] == 'squash':
        resize.update(size=[side, side])
    else:
        raise ConfigError(
            f'OpenCLIPPreprocess with resize_mode {known["resize_mode"]!r} has no counterpart '
            'outside torch; use "shortest" or "squash".'
        )
    return [
        resize,
        dict(kind='normalise', divisor=255.0, mean=list(known['mean']), std=list(known['std'])),
    ]


_KNOWN = dict(
    LoadBandImage=_bands,
    LoadBigEarthNetPatch=_sentinel2,
    LoadEpisode=_rgb,
    LoadRGBImage=_rgb,
    NormalizeBands=_normalise,
    OpenCLIPPreprocess=_open_clip,
    ResizeBands=_resize_bands,
    ResizeEpisode=_episode_resize,
    ScaleBands=_scale,
    TorchvisionTransforms=_torchvision,
)


def add_band_statistics(pipeline: Sequence[dict]) -> list[dict]:
    """Returns the pipeline with ``NormalizeBigEarthNet`` replaced by ``NormalizeBands``."""
    from rs_mm.datasets.bigearthnet.bands import STATISTICS

    found, names = [], ()
    for config in pipeline:
        kind = str(config['type']).rpartition('.')[2]
        if kind == 'LoadBigEarthNetPatch':
            names = _sentinel2({k: v for k, v in config.items() if k != 'type'})[0]['names']
        if kind == 'NormalizeBigEarthNet':
            mean, std = zip(*(STATISTICS[name] for name in names))
            config = dict(type='NormalizeBands', mean=list(mean), std=list(std))
        found.append(config)
    return found


def _of_preprocessor(preprocessor):
    mean, std = (getattr(preprocessor, key, None) for key in ('mean', 'std'))
    if mean is None and std is None:
        return []
    count = (mean if mean is not None else std).numel()
    mean = [0.0] * count if mean is None else mean.flatten().tolist()
    std = [1.0] * count if std is None else std.flatten().tolist()
    return [dict(kind='normalise', mean=mean, std=std)]


def _pair(size):
    return [size, size] if isinstance(size, int) else list(size)


def _listed(bands):
    return None if bands is None else list(bands)
