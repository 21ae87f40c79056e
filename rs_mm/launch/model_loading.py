"""Loading a trained model, its network and weights, without dataset, runner or logs."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint, set_random_seed

from rs_mm.errors import ConfigError
from rs_mm.launch.checkpoint_fit import check_checkpoint
from rs_mm.launch.config import apply_options, load_config, set_up_torch
from rs_mm.launch.device import pick_device
from rs_mm.registry import MODELS


@dataclass
class LoadedModel:
    """The result of :func:`load_model`.

    Attributes:
        model: the network, in evaluation mode, on the device.
        cfg: its config, overrides applied.
        name: stem of the config file, or ``config``.
        device: ``cpu``, ``cuda``, ...
        meta: data of the checkpoint besides the weights, e.g. ``dataset_meta``; may be empty.
    """

    model: torch.nn.Module
    cfg: Config
    name: str
    device: str
    meta: dict[str, Any]


def load_model(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str | None = None,
    options: dict | list[str] | None = None,
    *,
    asked_by: str = 'model',
    needs: str | None = None,
    needed_for: str = '',
) -> LoadedModel:
    """Builds the network of a config and loads its weights; says so in one log line.

    Args:
        config: name or path of a config file, or a config.
        checkpoint: the weights. Default: what the config names in ``load_from``, then the weights
            that the model starts from, with a warning.
        device: ``cpu``, ``cuda``, ``cuda:1``, ... Default: CUDA where it is there.
        options: overrides of the config, as for the tools.
        asked_by: name of the inferencer, for the log line and the errors.
        needs: attribute that the model must have, for ``needed_for``.
        needed_for: ends the sentence about a model without it.

    Raises:
        MissingFileError, CheckpointError: the config or the checkpoint is absent or does not fit.
        ConfigError: an option names no key, the machine has no such device, or the model is one
            for another task.
    """
    given = isinstance(config, Config)
    cfg = apply_options(config.copy(), options) if given else load_config(config, options)
    name = Path(cfg.filename or 'config').stem
    init_default_scope(cfg.get('default_scope') or 'rs_mm')
    set_up_torch(cfg.get('torch_cfg') or {})
    device = pick_device(device)
    if 'model' not in cfg:
        raise ConfigError(f'{name} has no `model`, so there is nothing to load.')
    checkpoint = checkpoint or cfg.get('load_from')
    free = cfg.get('training_free')
    if free and checkpoint:
        cfg.model.init_cfg = dict(type='Pretrained', checkpoint=str(checkpoint))
    if free or not checkpoint:  # random weights are equal in every process
        set_random_seed(cfg.get('randomness', {}).get('seed') or 0)
    model = MODELS.build(cfg.model)
    if needs is not None and not hasattr(model, needs):
        raise ConfigError(f'{name} builds a {type(model).__name__}; {asked_by} {needed_for}.')
    meta = _load_weights(model, checkpoint, free)
    count = sum(weight.numel() for weight in model.parameters()) / 1e6
    print_log(
        f'{asked_by}: {name}, {type(model).__name__} of {count:.1f} million weights from '
        f'{checkpoint or "its config"}, on {device}',
        'current',
    )
    return LoadedModel(model.to(device).eval(), cfg, name, device, meta)


def _load_weights(model, checkpoint, free):
    if checkpoint and not free:
        check_checkpoint(model, checkpoint)
        found = load_checkpoint(model, str(checkpoint), map_location='cpu', logger='silent')
        return dict(found.get('meta') or {}) if isinstance(found, dict) else {}
    if hasattr(model, 'init_weights'):
        logging.disable(logging.INFO)  # mmengine lists every tensor
        try:
            model.init_weights()
        finally:
            logging.disable(logging.NOTSET)
    if not free:
        print_log(
            'no checkpoint was given: the weights are the initial weights of the model',
            'current',
            level=logging.WARNING,
        )
    return {}
