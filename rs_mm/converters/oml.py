"""Conversion of backbones and weights of the original OML code."""

from __future__ import annotations

import math
import re

from torch import Tensor

from rs_mm.errors import CheckpointError, ConfigError

_SE = {
    'se_resnet50': 'legacy_seresnet50',
    'se_resnet101': 'legacy_seresnet101',
    'se_resnet152': 'legacy_seresnet152',
    'se_resnext50_32x4d': 'legacy_seresnext50_32x4d',
    'se_resnext101_32x4d': 'legacy_seresnext101_32x4d',
    'senet154': 'legacy_senet154',
}
_RESNET = ('resnet18', 'resnet34', 'resnet50', 'resnet101', 'resnet152')
_IBN = ('resnet50_ibn_a', 'resnet101_ibn_a', 'resnet152_ibn_a')
_VGG = ('vgg16', 'vgg19')


def published_encoder(backbone: str, channels: int = 3, output_stride: int = 32) -> dict:
    """Returns the config of the encoder that the original code calls ``backbone``.

    The settings include its peculiarities: dilation only in the first blocks, EfficientNets without
    activation after their first and last norm, a fixed padding.

    Raises:
        ConfigError: there is no backbone of this name.
    """
    config = dict(type='TimmEncoder', in_channels=channels)
    stride = {} if output_stride == 32 else dict(output_stride=output_stride, dilate='first')
    if backbone in _RESNET:
        return dict(config, model=backbone, **stride)
    if backbone in _SE:
        return dict(config, model=_SE[backbone], **stride)
    if backbone in _IBN:  # the original ignores the output stride of this network and of VGG
        return dict(config, model=backbone.removesuffix('_ibn_a'), ibn=True)
    if backbone in _VGG:
        return dict(config, model=backbone)
    match = re.fullmatch(r'efficientnet-b([0-7])', backbone)
    if match:
        if stride:
            stride['dilate'] = 'none'
        return dict(
            config,
            model=f'tf_efficientnet_b{match[1]}',
            linear_ends=True,
            fixed_padding=True,
            timm_args=dict(bn_momentum=0.01),
            **stride,
        )
    raise ConfigError(
        f"model.backbone {backbone!r} is none of the original's: {_RESNET}, {_IBN}, "
        f'{tuple(_SE)}, {_VGG}, efficientnet-b0 to b7.'
    )


def convert_names(state: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Renames weights of the original counterpart of :class:`ImageEmbedder`.

    Returns: The converted weights, and the dropped original names.
    """
    # DataParallel's prefix; only "module.module." belongs to the attention module
    if any(key.startswith('module.encoder.') for key in state):
        state = {key.removeprefix('module.'): value for key, value in state.items()}
    efficientnet = _efficientnet_names(state)
    converted, dropped = {}, []
    for key, value in state.items():
        new = efficientnet.get(key) or _encoder_name(key) or _neck_name(key) or _head_name(key)
        if new is None:
            dropped.append(key)
        elif new not in converted:  # the GeM power is stored twice
            converted[new] = value
    if not any(key.startswith('encoder.') for key in converted):
        raise CheckpointError(
            'the checkpoint has no weights under "encoder.encoder_block0" or '
            '"encoder.encoder"; it is not one of the original OML code.'
        )
    return converted, dropped


def convert(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Returns the weights of an original network, or of a part of it, with the names of rs_mm.

    Args:
        state: weights with original names. Read them with ``read_state_dict(path, strip=())``,
            because names of the attention module begin with ``module.``.

    Raises:
        CheckpointError: there is no encoder in ``state``.
    """
    return convert_names(state)[0]


def model_config(state: dict[str, Tensor]) -> dict:
    """The ``model`` of a config for these weights.

    Weights do not tell dilation and whether pooling takes the maximum or the mean: the published
    setting is assumed (output stride 32, maximum). ``oml_config.py`` knows them from the YAML file.

    Raises:
        CheckpointError: if the network has part branches, whose splits no weight tells, or an
            encoder that the original code does not have.
    """
    names = convert(state)
    if any('_branches.' in name for name in names):
        raise CheckpointError(
            'the checkpoint has part branches, and no weight tells how they split the map; make '
            'the config from its YAML file with tools/model_converters/oml_config.py.'
        )
    backbone, channels = _backbone(names)
    pool = dict(type='GlobalPool', mode='gem' if 'head.pool.power' in names else 'max')
    head = dict(type='EmbeddingHead', pool=pool)
    if 'head.fc.weight' in names:
        head['num_classes'] = len(names['head.fc.weight'])
    model = dict(type='ImageEmbedder', encoder=published_encoder(backbone, channels), head=head)
    if any(name.startswith('neck.channel_gate.') for name in names):
        model['neck'] = dict(type='CBAM')
    elif any(name.startswith('neck.position') for name in names):
        model['neck'] = dict(type='DualAttention')
    return model


#: Width of the last convolution and blocks -> EfficientNet; two have one width.
_EFFICIENTNETS = {
    (1280, 16): 0,
    (1280, 23): 1,
    (1408, 23): 2,
    (1536, 26): 3,
    (1792, 32): 4,
    (2048, 39): 5,
    (2304, 45): 6,
    (2560, 55): 7,
}


def _backbone(names):
    """Returns the original name of the backbone, and its number of bands."""
    net = {
        name.removeprefix('encoder.model.'): value.shape
        for name, value in names.items()
        if name.startswith('encoder.model.')
    }
    if 'conv_stem.weight' in net:
        blocks = {tuple(name.split('.')[1:3]) for name in net if name.startswith('blocks.')}
        number = _EFFICIENTNETS.get((net.get('conv_head.weight', [0])[0], len(blocks)))
        if number is not None:
            return f'efficientnet-b{number}', net['conv_stem.weight'][1]
    elif 'features.0.weight' in net:
        convolutions = sum(len(shape) == 4 for shape in net.values())
        return f'vgg{convolutions + 3}', net['features.0.weight'][1]
    else:
        first = net.get('conv1.weight') or net.get('layer0.conv1.weight')
        depth = _resnet_depth(net)
        if first is not None and depth is not None:
            return _resnet_family(net, depth), first[1]
    raise CheckpointError(
        'the encoder of the checkpoint is none of the original code (ResNet, SE-ResNet, VGG, '
        'EfficientNet), or the file holds a part of it.'
    )


def _resnet_depth(net):
    blocks = len({name.split('.')[1] for name in net if name.startswith('layer3.')})
    bottleneck = 'layer1.0.conv3.weight' in net
    return {(2, False): 18, (6, False): 34, (6, True): 50, (23, True): 101, (36, True): 152}.get(
        (blocks, bottleneck)
    )


def _resnet_family(net, depth):
    if any('.se_module.' in name or '.se.' in name for name in net):
        if len(net.get('layer0.conv1.weight', ())) and net['layer0.conv1.weight'][-1] == 3:
            return 'senet154'
        grouped = net['layer1.0.conv2.weight'][0] != net['layer1.0.conv2.weight'][1]
        return f'se_resnext{depth}_32x4d' if grouped else f'se_resnet{depth}'
    ibn = any('.IN.' in name or '.instance' in name for name in net)
    return f'resnet{depth}_ibn_a' if ibn else f'resnet{depth}'


_RULES = (
    (r'encoder\.encoder_block0\.0\.', 'encoder.model.conv1.'),
    (r'encoder\.encoder_block0\.1\.', 'encoder.model.bn1.'),
    (r'encoder\.encoder_block0\.(?=conv|bn)', 'encoder.model.layer0.'),
    (r'encoder\.encoder_block([1-4])\.', r'encoder.model.layer\1.'),
    (r'encoder\.encoder\.', 'encoder.model.features.'),
)


def _encoder_name(key):
    for pattern, new in _RULES:
        if re.match(pattern, key):
            return re.sub(pattern, new, key, count=1)
    return None


def _neck_name(key):
    if not key.startswith('module.module.'):
        return None
    key = key.removeprefix('module.module.')
    for old, new in (
        ('ChannelGate.mlp.1', 'channel_gate.mlp.0'),
        ('ChannelGate.mlp.3', 'channel_gate.mlp.2'),
        ('SpatialGate.spatial', 'spatial_gate'),
        ('conv_pam1', 'position_in'),
        ('conv_pam2', 'position_out'),
        ('conv_cam1', 'channel_in'),
        ('conv_cam2', 'channel_out'),
        ('pam.', 'position.'),
        ('cam.', 'channel.'),
    ):
        if key.startswith(old):
            key = new + key[len(old) :]
            break
    else:
        key = 'fuse' + key.removeprefix('conv')
    key = re.sub(r'(query|key|value)_conv\.conv1x1', r'\1', key)
    return 'neck.' + key.replace('.conv.conv.', '.conv.').replace('.act.bn.', '.bn.')


def _head_name(key):
    if key in ('head.pool.pool.p', 'head.head.pool.pool.p'):
        return 'head.pool.power'
    for old, new in (
        ('head.head.fc.', 'head.fc.'),
        ('head.head.bnneck_pack.', 'head.local_branches.'),
        ('head.head.bnn_triplet_pack.', 'head.global_branches.'),
    ):
        if key.startswith(old):
            return new + key[len(old) :]
    return None


_FIRST_STAGE = {
    '_depthwise_conv': 'conv_dw',
    '_bn1': 'bn1',
    '_se_reduce': 'se.conv_reduce',
    '_se_expand': 'se.conv_expand',
    '_project_conv': 'conv_pw',
    '_bn2': 'bn2',
}
_STAGE = {
    '_expand_conv': 'conv_pw',
    '_bn0': 'bn1',
    '_depthwise_conv': 'conv_dw',
    '_bn1': 'bn2',
    '_se_reduce': 'se.conv_reduce',
    '_se_expand': 'se.conv_expand',
    '_project_conv': 'conv_pwl',
    '_bn2': 'bn3',
}


def _efficientnet_names(state):
    """Maps original names of an EfficientNet's encoder to names of rs_mm; empty for other
    networks."""
    blocks, ends = {}, []
    for key in state:
        match = re.match(r'encoder\.encoder_block(\d)\.(\d+)\.(.*)', key)
        if match and match[3].startswith('_'):
            blocks.setdefault((int(match[1]), int(match[2])), []).append(key)
        elif match:
            ends.append((int(match[1]), int(match[2]), match[3], key))
    if not blocks:
        return {}
    places = [(stage, i) for stage, depth in enumerate(_depths(len(blocks))) for i in range(depth)]
    names = {}
    for (stage, i), (_, keys) in zip(places, sorted(blocks.items())):
        for key in keys:
            part, leaf = key.split('.', 3)[3].split('.', 1)
            new = (_FIRST_STAGE if stage == 0 else _STAGE)[part]
            names[key] = f'encoder.model.blocks.{stage}.{i}.{new}.{leaf}'
    last = max(index for block, index, _, _ in ends if block == 4)
    for block, index, leaf, key in ends:
        if block == 0:
            names[key] = f'encoder.model.{("conv_stem", "bn1")[index]}.{leaf}'
        else:
            names[key] = f'encoder.model.{"bn2" if index == last else "conv_head"}.{leaf}'
    return names


def _depths(count):
    """Returns the blocks per stage of the EfficientNet with ``count`` blocks."""
    for factor in (1.0, 1.1, 1.4, 1.8, 2.2, 2.6, 3.1):
        depths = [math.ceil(factor * depth) for depth in (1, 2, 2, 3, 3, 4, 1)]
        if sum(depths) == count:
            return depths
    raise CheckpointError(
        f'no EfficientNet from B0 to B7 has {count} blocks; is the checkpoint cut short?'
    )
