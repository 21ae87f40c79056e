"""Loading ImageNet checkpoints into a backbone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from torch import nn

from rs_mm.errors import CheckpointError, ConfigError, MissingFileError

_CONTAINERS = ('state_dict_ema', 'state_dict', 'model')


def pretrained_file(owner: nn.Module) -> str | None:
    """The checkpoint that the ``init_cfg`` of a module names; None where it names none.

    Raises:
        ConfigError: ``init_cfg`` is neither a dict nor None.
    """
    given = getattr(owner, 'init_cfg', None)
    if given and not isinstance(given, dict):
        raise ConfigError(
            f'init_cfg={given!r} of {type(owner).__name__} is not understood; '
            "use dict(type='Pretrained', checkpoint=FILE) or None."
        )
    return given.get('checkpoint') if given and given.get('type') == 'Pretrained' else None


def load_pretrained(
    backbone: nn.Module, init_cfg: dict, source: str, rename: Callable | None = None
) -> None:
    """Loads ``init_cfg['checkpoint']`` into ``backbone``.

    Takes a bare state dict or one under ``state_dict_ema``, ``state_dict`` or ``model``; removes
    the prefixes ``backbone.`` and ``module.``; resizes relative position tables of another window
    size (bicubic); ignores names that only one side has, such as the classifier's.

    Args:
        backbone: the network to fill.
        init_cfg: ``dict(type='Pretrained', checkpoint=FILE_OR_URL)``.
        source: where to get the file, for the message if it is missing.
        rename: ``state dict -> state dict`` in the backbone's own names.

    Raises:
        ConfigError: ``init_cfg`` does not have this form.
        MissingFileError: the file does not exist.
        CheckpointError: a tensor has another shape, or no name matches.
    """
    checkpoint = init_cfg.get('checkpoint') if isinstance(init_cfg, dict) else None
    if checkpoint is None or init_cfg.get('type') != 'Pretrained':
        raise ConfigError(
            f'init_cfg={init_cfg} of {type(backbone).__name__} is not understood; '
            "use dict(type='Pretrained', checkpoint=FILE) or None."
        )
    if '://' not in checkpoint and not Path(checkpoint).is_file():
        raise MissingFileError(
            f'there is no {checkpoint}: get it from {source} and put it there, or train from '
            'random weights with `--cfg-options model.backbone.init_cfg=None`.'
        )
    state = CheckpointLoader.load_checkpoint(checkpoint, map_location='cpu', logger='silent')
    state = next((state[key] for key in _CONTAINERS if isinstance(state.get(key), dict)), state)
    state = {
        key.removeprefix('module.').removeprefix('backbone.'): value
        for key, value in state.items()
        if isinstance(value, torch.Tensor)
    }
    state = rename(state) if rename else state
    own = backbone.state_dict()
    known = {
        key: _fit(key, value, own[key], checkpoint) for key, value in state.items() if key in own
    }
    if not known:
        raise CheckpointError(
            f'none of the {len(state)} tensors in {checkpoint} belongs to '
            f'{type(backbone).__name__}: it is a checkpoint of another model.'
        )
    backbone.load_state_dict(known, strict=False)
    print_log(
        f'{checkpoint}: {len(known)} of {len(own)} tensors of {type(backbone).__name__} '
        f'loaded, {len(state) - len(known)} others in the file ignored',
        logger='current',
    )


def _fit(key, value, own, checkpoint):
    if value.shape == own.shape or key.endswith('relative_position_index'):
        return own if key.endswith('relative_position_index') else value
    if key.endswith('relative_position_bias_table') and value.shape[1] == own.shape[1]:
        old, new = (round(len(table) ** 0.5) for table in (value, own))
        table = value.T.reshape(1, -1, old, old)
        table = F.interpolate(table, size=(new, new), mode='bicubic', align_corners=False)
        return table.view(-1, new * new).T.contiguous()
    raise CheckpointError(
        f'{key} in {checkpoint} has the shape {tuple(value.shape)}, the model '
        f'wants {tuple(own.shape)}: it is a checkpoint of another model.'
    )
