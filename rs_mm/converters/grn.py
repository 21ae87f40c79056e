"""Conversion of weights and memory of the original GRN code."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import torch
from torch import Tensor

from rs_mm.errors import CheckpointError, ConfigError

#: torchvision's Inception-v3 by position in the original's two sequences (3 and 6 are pools).
_INCEPTION = (
    {
        0: 'Conv2d_1a_3x3',
        1: 'Conv2d_2a_3x3',
        2: 'Conv2d_2b_3x3',
        4: 'Conv2d_3b_1x1',
        5: 'Conv2d_4a_3x3',
        7: 'Mixed_5b',
        8: 'Mixed_5c',
        9: 'Mixed_5d',
        10: 'Mixed_6a',
        11: 'Mixed_6b',
        12: 'Mixed_6c',
        13: 'Mixed_6d',
        14: 'Mixed_6e',
    },
    {0: 'Mixed_7a', 1: 'Mixed_7b', 2: 'Mixed_7c'},
)
_RESNET = {0: 'conv1', 1: 'bn1', 4: 'layer1', 5: 'layer2', 6: 'layer3', 7: 'layer4'}
_LINEAR = {'FC': 'head.fc', 'FC1': 'head.fc', 'FC2': 'head.classifier'}

#: The original's encoders as models of timm.
ENCODERS = {
    'ResNet18': 'resnet18',
    'ResNet50': 'resnet50',
    'WideResNet50': 'wide_resnet50_2',
    'InceptionV3': 'inception_v3',
}


def published_model(encoder: str, embed_dims: int = 128, num_classes: int | None = None) -> dict:
    """Returns the config of the network that the original calls ``encoder``.

    Args:
        encoder: ``ResNet18``, ``ResNet50``, ``WideResNet50``, ``InceptionV3``, or the same
            in lower case.
        embed_dims: size of the embedding.
        num_classes: number of labels of the classifier; None: no classifier.
    """
    names = {name.lower(): model for name, model in ENCODERS.items()}
    if encoder.lower() not in names:
        raise ConfigError(
            f'the original GRN has no encoder {encoder!r}; it has {", ".join(ENCODERS)}.'
        )
    return dict(
        type='ImageEmbedder',
        encoder=dict(type='TimmEncoder', model=names[encoder.lower()]),
        head=dict(type='GRNHead', embed_dims=embed_dims, num_classes=num_classes),
    )


def convert_names(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Renames weights of the original networks to those of :class:`ImageEmbedder`.

    Returns: The converted weights, and the dropped original names.

    Raises:
        CheckpointError: there is no encoder in ``state``.
    """
    converted, dropped = {}, []
    for key, value in state.items():
        new = _name(key.removeprefix('module.'))
        if new is None:
            dropped.append(key)
        else:
            converted[new] = value
    if not any(key.startswith('encoder.') for key in converted):
        raise CheckpointError(
            'the checkpoint has no weights under "encoder." or "encoder1."; it '
            'is not one of the original GRN code.'
        )
    return converted, dropped


def convert(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the weights of an original network, or of a part of it, with the names of rs_mm.

    Args:
        state: weights with original names, with or without the prefix ``module.``.

    Raises:
        CheckpointError: there is no encoder in ``state``.
    """
    return convert_names(state)[0]


def model_config(state: dict[str, Tensor]) -> dict:
    """Returns the ``model`` of a config for these weights.

    Raises:
        CheckpointError: the encoder or the embedding layer is missing.
    """
    names = convert(state)
    if 'head.fc.weight' not in names:
        raise CheckpointError(
            'the checkpoint has no embedding layer "FC" or "FC1"; it holds a part of a GRN.'
        )
    classifier = names.get('head.classifier.weight')
    return published_model(
        _encoder_kind(names),
        embed_dims=len(names['head.fc.weight']),
        num_classes=None if classifier is None else len(classifier),
    )


def _encoder_kind(names):
    if 'encoder.model.Conv2d_1a_3x3.conv.weight' in names:
        return 'InceptionV3'
    first = names.get('encoder.model.layer1.0.conv1.weight')
    if 'encoder.model.layer1.0.conv3.weight' not in names:
        return 'ResNet18'
    return 'ResNet50' if first is not None and len(first) == 64 else 'WideResNet50'


def convert_checkpoint(
    path: str | Path, dataset: str | None = None
) -> tuple[dict[str, Tensor], str]:
    """Reads weights and memory of an official checkpoint, with the names of rs_mm.

    The official memory has no labels; the labels of the published training split are used.

    Args:
        path: official checkpoint.
        dataset: ``'ucm'``, ``'aid'`` or ``'dfc15'``, the set it was trained on;
            without it the memory is left out.

    Returns:
        The state dict, and a sentence about the conversion.
    """
    weights, memory = read_checkpoint(path)
    state, dropped = convert_names(weights)
    report = f'{len(state)} weights converted, {len(dropped)} dropped'
    report += f' ({", ".join(dropped[:3])})' if dropped else ''
    if memory is None:
        return state, f'{report}; the file holds no memory.'
    rows = f'{len(memory)} x {memory.shape[1]}'
    if dataset is None:
        return state, (f'{report}; the memory of {rows} is left out: name its data set to keep it.')
    labels = published_labels(dataset)
    if len(labels) != len(memory):
        raise CheckpointError(
            f'{path} holds a memory of {len(memory)} images, but the published '
            f'training split of {dataset!r} has {len(labels)}.'
        )
    prefix = 'losses.0.memory.'
    state.update(
        {
            f'{prefix}features': memory,
            f'{prefix}labels': labels,
            f'{prefix}labelled': torch.tensor(True),
        }
    )
    return state, f'{report}; with the memory of {rows} and its labels.'


def published_labels(dataset: str) -> Tensor:
    """Returns the labels (N, L) uint8 of the published training split of ``'ucm'``, ``'aid'``,
    ``'dfc15'``."""
    from rs_mm.datasets.label_tables import PACKED, read_label_table
    from rs_mm.datasets.scene_split import SceneSplit

    if dataset not in PACKED:
        raise ConfigError(
            f'no published split is known for {dataset!r}; known: {", ".join(PACKED)}.'
        )
    table = read_label_table(dataset)
    # a name begins with its scene; the files' suffix is the same for all of a set
    paths = {name: re.sub(r'_?\d+$', '', name) + f'/{name}.x' for name in table.names}
    names = SceneSplit('train', by_folder=dataset != 'dfc15')(paths)
    return torch.from_numpy(table.select(names).labels)


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], Tensor | None]:
    """Reads an original checkpoint without running its code.

    The original pickles its memory *object* beside the weights. Every class in the file that torch
    does not know as plain data is replaced by an inert class that only keeps attributes; nothing is
    imported or called by a name in the file.

    Returns: The weights by their original names, and the memory (N, D) or None.

    Raises:
        MissingFileError, CheckpointError: see :func:`rs_mm.checkpoint.load_file`; also if the file
            holds no weights.
    """
    from rs_mm.checkpoint import load_file
    from rs_mm.checkpoint_types import safe_globals

    unknown = []
    with (
        contextlib.suppress(Exception),  # a missing or damaged file gives an error below
        torch.serialization.safe_globals(safe_globals()),
    ):
        unknown = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    # not every text in a damaged file can be the name of a class
    stand_ins: list = [(type('StandIn', (_StandIn,), {}), name) for name in unknown]
    with torch.serialization.safe_globals(stand_ins):
        content = load_file(path)
    state = next(
        (
            content[key]
            for key in ('state_dict', 'net', 'model')
            if isinstance(content, dict) and isinstance(content.get(key), dict)
        ),
        content,
    )
    if not isinstance(state, dict) or not any(torch.is_tensor(v) for v in state.values()):
        raise CheckpointError(f'{path} holds no weights (a dictionary of names and tensors).')
    memories = list(_memories(content))
    if len(memories) > 1:
        raise CheckpointError(f'{path} holds {len(memories)} memories; one was expected.')
    return (
        {key: value for key, value in state.items() if torch.is_tensor(value)},
        memories[0] if memories else None,
    )


class _StandIn:
    """Replaces an object in a file of others; it only keeps attributes."""

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        self.__dict__.update(state if isinstance(state, dict) else {})


def _memories(value, name=''):
    """Yields every (N, D) tensor with the name ``memory`` below ``value``."""
    if torch.is_tensor(value):
        if value.dim() == 2 and name == 'memory':
            yield value.detach().float()
    elif isinstance(value, (dict, _StandIn)):
        for key, part in (value if isinstance(value, dict) else vars(value)).items():
            if key != 'optimizer':
                yield from _memories(part, key)


def _name(key):
    match = re.fullmatch(r'encoder([12]?)\.(\d+)\.(.+)', key)
    if match:
        sequence, position, rest = match[1], int(match[2]), match[3]
        names = _INCEPTION[int(sequence) - 1] if sequence else _RESNET
        return f'encoder.model.{names[position]}.{rest}' if position in names else None
    layer, _, rest = key.partition('.')
    return f'{_LINEAR[layer]}.{rest}' if layer in _LINEAR else None
