"""Building a decode head that fits the stages of backbone and neck."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

from torch import nn

from rs_mm.build_errors import accepted_keys
from rs_mm.errors import ConfigError
from rs_mm.registry import MODELS


def stage_channels(backbone: nn.Module) -> tuple[int, ...] | None:
    """Returns the channels of a backbone's stages, or None if the backbone does not state them.

    Raises:
        ConfigError: the backbone returns one map instead of stages.
    """
    channels = getattr(backbone, 'out_channels', None)
    if isinstance(channels, int):
        raise ConfigError(
            f'model.backbone: {type(backbone).__name__} gives one map, and a change detector needs '
            'stages; set model.backbone.out_indices=(0, 1, 2, 3).'
        )
    if channels is None and hasattr(backbone, 'num_features') and hasattr(backbone, 'out_indices'):
        widths = backbone.num_features  # mmseg's Swin
        if isinstance(widths, (list, tuple)):
            channels = [widths[index] for index in backbone.out_indices]
    return None if channels is None else tuple(channels)


def build_head(cfg: dict, stages: Sequence[int] | None, fused: Sequence[int] | None) -> nn.Module:
    """Builds a decode head; missing ``in_channels``, ``in_index``, ``loss_decode`` are filled in.

    Args:
        cfg: the head.
        stages: channels of one date's stages, None if unknown.
        fused: channels of the stages after the neck, None if unknown.

    Raises:
        ConfigError: the head's channels or stages differ from those of backbone and neck.
    """
    cls = MODELS.get(cfg['type'])
    keys = accepted_keys(cls) if inspect.isclass(cls) else []
    own_keys = inspect.signature(cls).parameters if keys else {}
    if 'loss_decode' in keys and 'loss_decode' not in own_keys:
        # mmseg's own default is a name that only its registry knows
        cfg = dict(dict(loss_decode=dict(type='mmseg.CrossEntropyLoss')), **cfg)
    per_date = getattr(cls, 'channels_of_one_date', False)
    widths = stages if per_date else fused
    chooses_stages = 'in_index' not in keys  # itself, so which channels it needs is not known
    if widths is None or chooses_stages:
        return MODELS.build(cfg)
    every = list(range(len(widths)))
    if 'in_index' in cfg:
        tries = [cfg['in_index']]
    elif cfg.get('input_transform') or isinstance(cfg.get('in_channels'), (list, tuple)):
        tries = [every]
    else:
        # mmseg's default is the last stage
        tries = [every] if 'in_index' in own_keys else [-1, every]
    for in_index in tries:
        given = _select(widths, in_index, cfg)
        own = cfg.get('in_channels', given)
        own = list(own) if isinstance(own, (list, tuple)) else own
        if own != given:
            raise ConfigError(
                f'{cfg["type"]}.in_channels={own} does not fit: the stages {in_index} have '
                f'{given} channels{" per date" if per_date else ""}; set it to that, or leave it '
                'out.'
            )
        try:
            return MODELS.build(dict(cfg, in_channels=given, in_index=in_index))
        except AssertionError as error:  # mmseg's error for a head that takes several stages
            failure = error
    raise ConfigError(
        f'{cfg["type"]} takes other stages than in_index={tries[-1]} of {list(widths)} channels '
        f'({failure or "mmseg refuses them"}); set its in_index.'
    ) from failure


def _select(widths, in_index, cfg):
    several = isinstance(in_index, (list, tuple))
    wanted = in_index if several else [in_index]
    if not all(-len(widths) <= index < len(widths) for index in wanted):
        raise ConfigError(
            f'{cfg["type"]}.in_index={in_index} names stages that are not there: the backbone and '
            f'the neck give {len(widths)} (channels {list(widths)}).'
        )
    chosen = [widths[index] for index in wanted]
    return chosen if several else chosen[0]
