"""Loading pretrained weights into a network of timm, for any number of bands and any image size."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from rs_mm.errors import CheckpointError, MissingFileError


def load_weights(model: nn.Module, name: str, checkpoint: str) -> None:
    """Loads timm's weights or a local file, without the classifier.

    Names and sizes of published files (the first authors' names, position embeddings of another
    image size) are converted by timm's own converter of the family.

    Args:
        model: the network.
        name: its name in timm.
        checkpoint: a file, ``timm``, or ``timm/NAME.TAG``.

    Raises:
        MissingFileError: the file does not exist, or timm's weights cannot be downloaded.
        CheckpointError: the weights are another network's.
    """
    source, _, tag = checkpoint.partition('/')
    state = _timm_weights(tag or name) if source == 'timm' else _file_weights(checkpoint)
    own = model.state_dict()
    fitted, missing, wrong = _fit(state, own)
    if missing or wrong:
        fitted, missing, wrong = _fit(_convert(model, state), own)
    if wrong:
        raise CheckpointError(
            f'{checkpoint}: {wrong[0]} has shape {tuple(fitted[wrong[0]].shape)}, '
            f'{name} needs {tuple(own[wrong[0]].shape)}.'
        )
    if missing:
        raise CheckpointError(
            f'{checkpoint} lacks {len(missing)} weights of {name}, '
            f'first {missing[0]}; is it of another network?'
        )
    model.load_state_dict(fitted, strict=False)


def _fit(state, own):
    """The weights that ``own`` has a place for, names that are missing, and of other shapes."""
    fitted = {
        key: _for_bands(value, own[key])
        for key, value in state.items()
        if key in own and not _computed(key)
    }
    missing = [key for key in own if key not in fitted and not _computed(key)]
    return fitted, missing, [key for key in fitted if fitted[key].shape != own[key].shape]


def spread_stem(weight: Tensor, in_channels: int) -> Tensor:
    """Stem filters for RGB (O, 3, k, k) -> (O, in_channels, k, k), as published.

    With more than 3 bands, the RGB filters come first, and every further band gets their mean. With
    1 or 2 bands, each gets the mean. Nothing is rescaled.
    """
    mean = weight.mean(1, keepdim=True)
    if in_channels < 3:
        return mean.repeat(1, in_channels, 1, 1)
    return torch.cat([weight, mean.repeat(1, in_channels - 3, 1, 1)], dim=1)


def _for_bands(value, own):
    """Spreads RGB filters over the bands of ``own``; returns other tensors unchanged."""
    is_stem = value.dim() == own.dim() == 4 and value.shape[1] == 3 != own.shape[1]
    return spread_stem(value, own.shape[1]) if is_stem else value


def _computed(key):
    """Says whether a tensor is state that a network computes by itself: counters, position
    tables."""
    return 'num_batches' in key or key.endswith(('relative_position_index', 'attn_mask'))


def _convert(model, state):
    convert = getattr(sys.modules[type(model).__module__], 'checkpoint_filter_fn', None)
    if convert is None:
        return state
    with_model = len(inspect.signature(convert).parameters) > 1
    try:
        return convert(state, model) if with_model else convert(state)
    except (KeyError, AttributeError, RuntimeError, AssertionError, ValueError, IndexError):
        return state  # a file of another family: the caller compares names and shapes


def _timm_weights(name):
    try:
        return timm.create_model(name, pretrained=True, num_classes=0).state_dict()
    except Exception as error:  # without a network the hub client raises errors of many types
        source = None if ':' in name else timm.get_pretrained_cfg(name)
        where = source.hf_hub_id or source.url if source else name
        raise MissingFileError(
            f'the pretrained weights of {name} ({where}) could not be downloaded; get them on '
            'another machine, put the file at e.g. data/weights, and set '
            'encoder.init_cfg.checkpoint to its path.'
        ) from error


def _file_weights(path):
    from rs_mm.checkpoint import read_state_dict

    if not Path(path).is_file():
        raise MissingFileError(
            f'encoder.init_cfg.checkpoint: there is no file {path}; put the '
            'pretrained weights there, or use "timm" to download them.'
        )
    # a checkpoint of a whole embedder or change detector has its encoder under these names
    return read_state_dict(path, strip=('module.', 'encoder.model.', 'backbone.model.'))
