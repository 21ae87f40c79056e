"""The output of every block before its last ReLU: the features of hypercorrelation methods."""

from __future__ import annotations

import copy
from itertools import chain
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import CheckpointLoader, get_torchvision_models
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from rs_mm.errors import CheckpointError, ConfigError, MissingFileError, suggest
from rs_mm.models.utils.pretrained import pretrained_file
from rs_mm.registry import MODELS


@MODELS.register_module()
class PreActivationBackbone(BaseModule):
    """A ResNet or VGG of timm that gives the output of every block before the last activation.

    ResNets give the sum at the end of each block of stages 2, 3 and 4 (strides 8, 16, 32; 4 + 6 + 3
    maps for ``resnet50``, 4 + 23 + 3 for ``resnet101``). VGGs give the convolutions of blocks 4
    and 5 before their ReLU (strides 8 and 16) and the last pooling (stride 32): 3 + 3 + 1 maps for
    ``vgg16``. BatchNorm always uses its stored statistics.

    A frozen network runs without gradients on a copy with BatchNorm folded into the convolutions
    and channels-last memory. The option ``--freeze`` of the original code has no effect: it always
    computes the features without gradients. Here ``frozen=False`` trains the weights (and the
    affine part of BatchNorm) through the correlations.

    Source: Min et al., "Hypercorrelation Squeeze for Few-Shot Segmentation", ICCV 2021, sec. 4.1.

    Args:
        arch: timm's name of a ResNet or a VGG: ``resnet50``, ``resnet101``,
            ``vgg16``, ``resnet18``, ...
        frozen: no gradients, no updates.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)`` with a file or URL in
            torchvision's naming, ``torchvision://resnet50``, or ``timm://tv_resnet50.tv_in1k``.

    Raises:
        ConfigError: if timm has no such network, or it is neither a ResNet nor a VGG.
    """

    def __init__(
        self, arch: str = 'resnet50', frozen: bool = True, init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.arch, self.frozen = arch, frozen
        if not timm.is_model(arch):
            raise ConfigError(
                f'timm knows no network {arch!r}{suggest(arch, timm.list_models())} (a ResNet '
                'or a VGG is needed, e.g. resnet50, resnet101 or vgg16).'
            )
        net = timm.create_model(arch, pretrained=False)
        self.net = nn.Module()
        if all(hasattr(net, f'layer{i}') for i in range(1, 5)):
            self._features = _resnet_features
            self.net.stem = nn.Sequential()
            for name in ('conv1', 'bn1', 'act1', 'maxpool'):
                self.net.stem.add_module(name, getattr(net, name))
            for i in range(1, 5):
                stage = getattr(net, f'layer{i}')
                for block in stage:
                    # the last activation is applied between the blocks, after the map is taken
                    setattr(block, 'act3' if hasattr(block, 'act3') else 'act2', nn.Identity())
                self.net.add_module(f'layer{i}', stage)
            self.map_counts = tuple(len(getattr(net, f'layer{i}')) for i in (2, 3, 4))
        elif arch.startswith('vgg'):
            self._features = _vgg_features
            self.net.features = net.features
            kinds = _vgg_maps(net.features)
            self.map_counts = tuple(sum(group == i for group in kinds) for i in range(3))
        else:
            raise ConfigError(f'`arch` {arch!r} of the backbone is neither a ResNet nor a VGG.')
        if frozen:
            self.requires_grad_(False)
        self._folded = (None, None)
        self.train(self.training)

    def init_weights(self) -> None:
        """Loads the pretrained weights that ``init_cfg`` names; without it nothing changes.

        Raises:
            MissingFileError: the weights cannot be found or downloaded.
            CheckpointError: the weights belong to another network.
        """
        if not self.init_cfg or self.is_init:
            return
        checkpoint = pretrained_file(self)
        if not checkpoint:
            raise ConfigError(
                '`init_cfg` of the backbone must be dict(type="Pretrained", checkpoint=...).'
            )
        self.load_classifier(_pretrained_state(checkpoint))
        self._is_init = True

    def load_classifier(self, state: dict[str, Tensor]) -> None:
        """Loads the weights of a plain classification network with torchvision's names.

        Args:
            state: e.g. ``layer1.0.conv1.weight`` or ``features.0.weight``;
                the classifier's entries are left out.

        Raises:
            CheckpointError: if a weight is missing or has another shape.
        """
        state = {_own_name(name): value for name, value in state.items()}
        wanted = self.net.state_dict()
        missing = [
            name
            for name in wanted
            if name not in state and not name.endswith('num_batches_tracked')
        ]
        if missing:
            raise CheckpointError(
                f'the weights are not those of {self.arch}: {missing[0]} and '
                f'{len(missing) - 1} more are missing.'
            )
        wrong = [
            name for name in wanted if name in state and state[name].shape != wanted[name].shape
        ]
        if wrong:
            raise CheckpointError(
                f'the weights are not those of {self.arch}: {wrong[0]} has shape '
                f'{tuple(state[wrong[0]].shape)}.'
            )
        self.net.load_state_dict({k: v for k, v in state.items() if k in wanted}, strict=False)

    def train(self, mode: bool = True) -> PreActivationBackbone:
        """Training mode, except for BatchNorm, which keeps its stored statistics."""
        super().train(mode)
        self.net.eval()
        return self

    def forward(self, x: Tensor) -> tuple[list[Tensor], ...]:
        """Computes the maps.

        Args:
            x: (B, 3, H, W), normalised.

        Returns:
            For each of three stages, from shallow to deep, a list of its maps (B, C, h, w).
        """
        if not self.frozen:
            return self._features(self.net, x)
        with torch.no_grad():
            x = x.contiguous(memory_format=torch.channels_last)
            # a compiler folds by itself, and cannot trace the version counters of tensors
            net = self.net if torch.compiler.is_compiling() else self._folded_net()
            return self._features(net, x)

    def _folded_net(self):
        key = tuple(
            (t.data_ptr(), t._version, t.dtype)
            for t in chain(self.net.parameters(), self.net.buffers())
        )
        if self._folded[0] != key:
            # in a tuple, because a module as an attribute would enter the state dict
            self._folded = (key, fold_batchnorm(self.net).to(memory_format=torch.channels_last))
        return self._folded[1]


def fold_batchnorm(net: nn.Module) -> nn.Module:
    """Returns a copy of a network in evaluation mode, with BatchNorms folded into the convolutions.

    Args:
        net: each BatchNorm2d directly follows its convolution among its siblings.
    """
    net = copy.deepcopy(net).eval().requires_grad_(False)
    for parent in list(net.modules()):
        previous: tuple[str, nn.Module] = ('', net)
        for name, child in list(parent.named_children()):
            if type(child) is nn.BatchNorm2d and isinstance(previous[1], nn.Conv2d):
                setattr(parent, previous[0], fuse_conv_bn_eval(previous[1], child))
                setattr(parent, name, nn.Identity())
            previous = (name, child)
    return net


def _resnet_features(net, x):
    x = net.stem(x)
    stages = []
    for stage in (net.layer1, net.layer2, net.layer3, net.layer4):
        maps = []
        for block in stage:
            maps.append(block(x))
            x = F.relu(maps[-1])
        stages.append(maps)
    return tuple(stages[1:])


def _vgg_maps(features):
    """Returns for each module the stage (0, 1, 2) whose map it gives, or None."""
    kinds, block = [], 1
    for i, module in enumerate(features):
        before_relu = i + 1 < len(features) and isinstance(features[i + 1], nn.ReLU)
        last = i + 1 == len(features)
        kinds.append(block - 4 if block in (4, 5) and before_relu else 2 if last else None)
        block += isinstance(module, nn.MaxPool2d)
    return kinds


def _vgg_features(net, x):
    stages = ([], [], [])
    for module, stage in zip(net.features, _vgg_maps(net.features)):
        # not in place: the input of the activation is one of the maps
        x = F.relu(x) if isinstance(module, nn.ReLU) else module(x)
        if stage is not None:
            stages[stage].append(x)
    return stages


def _own_name(name):
    stem = name.startswith(('conv1.', 'bn1.'))
    return f'stem.{name}' if stem else name


def _address(source):
    """Where torchvision's weights lie, in parentheses; empty for other sources."""
    kind, _, name = source.partition('://')
    address = get_torchvision_models().get(name) if kind == 'torchvision' else None
    return f'({address}) ' if address else ''


def _pretrained_state(source):
    try:
        if source.startswith('timm://'):
            return timm.create_model(source[len('timm://') :], pretrained=True).state_dict()
        if '://' not in source and not Path(source).is_file():
            raise FileNotFoundError('there is no such file')
        state = CheckpointLoader.load_checkpoint(source, map_location='cpu')
    except MissingFileError:  # a run says where a download is looked for
        raise
    except (OSError, RuntimeError) as error:
        raise MissingFileError(
            f'the backbone weights {source} {_address(source)}could not be read or downloaded '
            f'({error}); fetch the ImageNet weights of the network in the naming of torchvision by '
            f'hand, e.g. resnet50-0676ba61.pth from download.pytorch.org/models, and give the path '
            f'of the file in place of {source}.'
        ) from error
    state = state.get('state_dict', state)
    return {name.removeprefix('module.'): value for name, value in state.items()}
