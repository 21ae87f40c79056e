"""Conversion of official SCCNet checkpoints.

The published file (``best_model.pt``) holds the whole network under DataParallel's prefix
``module.``, which :func:`rs_mm.checkpoint.read_state_dict` removes, and the unused classifier of
the backbone.
"""

from __future__ import annotations

import re

from mmengine.registry import DefaultScope
from torch import Tensor

from rs_mm.errors import CheckpointError
from rs_mm.registry import MODELS

_LEARNERS = {'hpn_learner': 'cross_learner', 'hpn_learner2': 'self_learner'}
_BLOCKS = {
    'encoder_layer4': 'squeeze.0',
    'encoder_layer3': 'squeeze.1',
    'encoder_layer2': 'squeeze.2',
    'encoder_layer4to3': 'mix.0',
    'encoder_layer3to2': 'mix.1',
}
_DECODERS = {'decoder1': 'decoder', 'decoder2': 'classifier'}
_CONVOLUTIONS = {'conv1': 'conv_query', 'conv2': 'conv_support'}
_UNUSED = ('backbone.fc.', 'backbone.classifier.')
_MAP_COUNTS = {'vgg16': (3, 3, 1), 'resnet50': (4, 6, 3), 'resnet101': (4, 23, 3)}


def convert_name(name: str) -> str | None:
    """Returns the name in rs_mm of an entry of the original state dict (without ``module.``).

    Returns:
        None for the backbone's classifier, which segmentation does not use.

    Raises:
        KeyError: the original network does not have the entry.
    """
    if name.startswith(_UNUSED):
        return None
    if name == 'merger.0.weight':
        return 'head.merge.weight'
    top, _, rest = name.partition('.')
    if top == 'backbone':
        stem = rest.startswith(('conv1.', 'bn1.'))
        return f'backbone.net.{"stem." if stem else ""}{rest}'
    block, _, rest = rest.partition('.')
    if top not in _LEARNERS or block not in {**_BLOCKS, **_DECODERS}:
        raise KeyError(name)
    if block in _DECODERS:
        return f'head.{_LEARNERS[top]}.{_DECODERS[block]}.{rest}'
    convolution = re.fullmatch(r'(\d+)\.(conv[12])\.(\w+)', rest)
    if convolution:
        index, conv, leaf = convolution.groups()
        inside = f'{int(index) // 3}.{_CONVOLUTIONS[conv]}.{leaf}'
    else:
        index, leaf = rest.split('.')
        inside = f'{int(index) // 3}.norm.{leaf}'
    return f'head.{_LEARNERS[top]}.{_BLOCKS[block]}.{inside}'


def convert_state(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Renames the weights of the original network.

    Args:
        state: weights with the names of the bare module.

    Returns: The state dict of rs_mm, and the names left out.
    """
    names = {name: convert_name(name) for name in state}
    converted = {new: state[old] for old, new in names.items() if new}
    return converted, [old for old, new in names.items() if not new]


def architecture(state: dict[str, Tensor]) -> str:
    """Returns ``resnet50``, ``resnet101`` or ``vgg16``, from the weights of the backbone."""
    if 'backbone.features.0.weight' in state:
        return 'vgg16'
    return 'resnet101' if 'backbone.layer3.22.conv1.weight' in state else 'resnet50'


def convert(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the weights of an original network, or of a part of it, with the names of rs_mm.

    Raises:
        CheckpointError: a name does not belong to SCCNet.
    """
    try:
        return convert_state(state)[0]
    except (KeyError, ValueError) as error:
        raise CheckpointError(
            f'the checkpoint has an entry that SCCNet lacks ({error.args[0]}); it is of another '
            'network.'
        ) from error


def model_config(state: dict[str, Tensor]) -> dict:
    """Returns the ``model`` of a config for these weights, from the backbone."""
    arch = architecture(state)
    return dict(
        type='FewShotSegmentor',
        backbone=dict(type='PreActivationBackbone', arch=arch),
        head=dict(type='SelfCrossCorrelationHead', in_channels=_MAP_COUNTS[arch]),
        data_preprocessor=dict(type='FewShotDataPreprocessor'),
    )


def missing_names(state: dict[str, Tensor], converted: dict[str, Tensor]) -> list[str]:
    """Returns the names of the network's weights that are missing in ``converted`` or have another
    shape."""
    with DefaultScope.overwrite_default_scope('rs_mm'):
        model = MODELS.build(model_config(state))
    return [
        name
        for name, value in model.state_dict().items()
        if getattr(converted.get(name), 'shape', None) != value.shape
        and not name.endswith('num_batches_tracked')
    ]
