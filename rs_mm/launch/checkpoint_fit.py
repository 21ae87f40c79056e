"""A check before a run that a checkpoint fits the model."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.logging import print_log

from rs_mm.checkpoint import load_file, read_state_dict
from rs_mm.errors import CheckpointError
from rs_mm.registry import MODELS
from rs_mm.unwrap import unwrap

if TYPE_CHECKING:
    from torch import nn


def check_checkpoint(model: nn.Module | dict, path: str | Path, resume: bool = False) -> None:
    """Compares the names and shapes of a checkpoint's weights with a model's.

    Args:
        model: the built model, wrapped or not; or its config, if the runner builds it later.
        path: the checkpoint; a URL, or a folder to resume from, is not checked.
        resume: whether the checkpoint must also hold a training's state.

    Raises:
        MissingFileError: the file does not exist.
        CheckpointError: a weight of the model is missing or has another shape. Weights that the
            model does not have (e.g. of an auxiliary head) are only reported.
    """
    if _reads_itself(path, resume):
        return
    own, given = _state_of(model), _read(path)
    missing, wrong = _compare(own, given)
    if missing or wrong:
        raise CheckpointError(_another_model_error(path, own, given, missing, wrong))
    if len(given) > len(own):
        print_log(
            f'{path}: {len(given) - len(own)} weights do not belong to this model and are not used',
            'current',
        )
    if resume and not {'optimizer', 'meta', 'message_hub'} <= set(load_file(path)):
        raise CheckpointError(
            f'{path} holds weights but no state of a training; start from it '
            f'with `--cfg-options load_from={path}` instead of --resume.'
        )


def check_start(model: nn.Module, path: str | Path) -> None:
    """Reports how much of a model starts from a checkpoint, which may be a part.

    Args:
        model (nn.Module | dict), path (str | Path): see :func:`check_checkpoint`.

    Raises:
        MissingFileError: the file does not exist.
        CheckpointError: the file is unreadable, or none of its weights fits the model.
    """
    if _reads_itself(path, True):
        return
    own, given = _state_of(model), _read(path)
    missing, wrong = _compare(own, given)
    fitting = len(own) - len(missing) - len(wrong)
    if not fitting:
        raise CheckpointError(_another_model_error(path, own, given, missing, wrong))
    print_log(
        f"{path}: {fitting} of this model's {len(own)} weights start from it ({len(missing)} "
        f'are missing there, {len(wrong)} have another shape)',
        'current',
        logging.WARNING if missing or wrong else logging.INFO,
    )


def _reads_itself(path, training):
    """Returns whether a checkpoint is not checked: a URL, or a folder of DeepSpeed's shards."""
    return '://' in str(path) or (training and Path(path).is_dir())


def _state_of(model):
    if isinstance(model, dict):  # a FlexibleRunner builds it later, the network of a TTA model too
        model = MODELS.build(copy.deepcopy(model.get('module', model)))
    return unwrap(model).state_dict()


def _read(path):
    """Returns the weights that mmengine's ``load_checkpoint`` would find."""
    return read_state_dict(path, containers=('state_dict',))


def _compare(own, given):
    """Returns the names of missing weights, and of weights with another shape."""
    return (
        [name for name in own if name not in given],
        [name for name in own if name in given and given[name].shape != own[name].shape],
    )


def _another_model_error(path, own, given, missing, wrong):
    example = (
        f'`{missing[0]}` is missing'
        if missing
        else (
            f'`{wrong[0]}` is {tuple(given[wrong[0]].shape)} there and '
            f'{tuple(own[wrong[0]].shape)} here'
        )
    )
    return (
        f'{path} is of another model: {len(own) - len(missing) - len(wrong)} of its '
        f"{len(given)} weights fit this config's {len(own)} ({len(missing)} missing, "
        f'{len(wrong)} of another shape; e.g. {example}). Is it the right config, or does the '
        'file need a converter from tools/model_converters?'
    )
