"""Any convolutional network of timm as an encoder, for any number of input bands."""

from __future__ import annotations

from pathlib import Path

import timm
import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from rs_mm.errors import CheckpointError, ConfigError, MissingFileError
from rs_mm.registry import MODELS

from .ibn import add_ibn_a
from .strides import dilate_first_block, fix_padding, remove_strides


@MODELS.register_module()
class TimmEncoder(BaseModule):
    """The last feature map of a timm network.

    Images and weights are kept as NHWC, with which convolutions are faster: 1.5 times on a GPU with
    tensor cores (a ResNet-18 in training), by a tenth on CPUs.

    Args:
        model: timm's name, e.g. ``resnet50``, ``legacy_seresnet50`` (with the ceil-mode pool of
            the Caffe original), ``tf_efficientnet_b0``, ``vgg16``, ``wide_resnet50_2``,
            ``inception_v3``.
        in_channels: number of input bands.
        output_stride: 32, 16 or 8, where the family offers it.
        dilate: how later blocks make up for a smaller stride. ``all``: timm's way, the usual
            one; ``first``: only the first block of a stage dilates, the behaviour of the original
            OML code; ``none``: not at all, as its EfficientNets.
        ibn: puts IBN-a norms into a ResNet.
        linear_ends: drops the activation after the stem norm and after the last norm of an
            EfficientNet, as the original OML code does.
        fixed_padding: pads by kernel - stride whatever the input size, likewise.
        timm_args: further arguments of the timm model, e.g. ``dict(bn_momentum=0.01)``.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)`` with a local file in timm's names
            (torchvision's ResNets have the same), ``timm`` for timm's own weights of ``model``, or
            ``timm/NAME.TAG`` for others, e.g. ``timm/resnet50.tv_in1k``. A stem for other bands
            gets :func:`spread_stem`.

    Examples:
        >>> encoder = TimmEncoder('resnet18', in_channels=10)
        >>> encoder(torch.rand(2, 10, 64, 64)).shape
        torch.Size([2, 512, 2, 2])
    """

    def __init__(
        self,
        model: str,
        in_channels: int = 3,
        output_stride: int = 32,
        dilate: str = 'all',
        ibn: bool = False,
        linear_ends: bool = False,
        fixed_padding: bool = False,
        timm_args: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if dilate not in ('all', 'first', 'none'):
            raise ConfigError(f'encoder.dilate is {dilate!r}; use "all", "first" or "none".')
        self.name, self.in_channels = model, in_channels
        args = dict(timm_args or {}, in_chans=in_channels)
        if dilate == 'all' and output_stride != 32:
            args['output_stride'] = output_stride
        self.model = _create(model, args)
        self.out_channels = self.model.num_features
        if dilate == 'first' and output_stride != 32:
            dilate_first_block(self.model, output_stride)
        elif dilate == 'none' and output_stride != 32:
            remove_strides(self.model, output_stride)
        if ibn:
            self._need('ibn', 'layer4', 'a ResNet')
            add_ibn_a(self.model)
        if linear_ends:
            self._need('linear_ends', 'conv_head', 'an EfficientNet')
            self.model.bn1.act = self.model.bn2.act = nn.Identity()
        if fixed_padding:
            fix_padding(self.model)
        self.model.to(memory_format=torch.channels_last)

    def _need(self, option, attribute, family):
        if not hasattr(self.model, attribute):
            raise ConfigError(f'encoder.{option} is for {family}; {self.name} is none.')

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H', W').

        Raises:
            ConfigError: the images have another number of bands.
        """
        if x.shape[1] != self.in_channels:
            raise ConfigError(
                f'the images have {x.shape[1]} bands, but model.encoder.in_channels '
                f'is {self.in_channels}; set it, or the bands that the pipelines of '
                'the datasets load.'
            )
        return self.model.forward_features(x.contiguous(memory_format=torch.channels_last))

    def init_weights(self) -> None:
        """Loads the pretrained weights; without ``init_cfg`` timm's initialisation stays."""
        if self.init_cfg and self.init_cfg.get('type') == 'Pretrained':
            self.load_pretrained(self.init_cfg['checkpoint'])

    def load_pretrained(self, checkpoint: str) -> None:
        """Loads timm's weights or a local file; the classifier is left out.

        Raises:
            MissingFileError: the file is not there, or timm's weights cannot be downloaded.
            CheckpointError: the weights are another network's.
        """
        source, _, name = checkpoint.partition('/')
        if source == 'timm':
            state = _timm_weights(name or self.name)
        else:
            state = _file_weights(checkpoint)
        own = self.model.state_dict()
        state = {key: value for key, value in state.items() if key in own}
        missing = [key for key in own if key not in state and 'num_batches' not in key]
        for key, value in state.items():
            if value.dim() == 4 and value.shape[1] == 3 != own[key].shape[1]:
                state[key] = value = spread_stem(value, own[key].shape[1])
            if value.shape != own[key].shape:
                raise CheckpointError(
                    f'{checkpoint}: {key} has shape {tuple(value.shape)}, '
                    f'{self.name} needs {tuple(own[key].shape)}.'
                )
        if missing:
            raise CheckpointError(
                f'{checkpoint} lacks {len(missing)} weights of {self.name}, '
                f'first {missing[0]}; is it of another network?'
            )
        self.model.load_state_dict(state, strict=False)


def spread_stem(weight: Tensor, in_channels: int) -> Tensor:
    """Stem filters for RGB (O, 3, k, k) -> (O, in_channels, k, k), as published.

    More than 3 bands: the RGB filters, then their mean for every further band. 1 or 2 bands: the
    mean. Nothing is rescaled.
    """
    mean = weight.mean(1, keepdim=True)
    if in_channels < 3:
        return mean.repeat(1, in_channels, 1, 1)
    return torch.cat([weight, mean.repeat(1, in_channels - 3, 1, 1)], dim=1)


def _create(name, args):
    if name not in timm.list_models():
        similar = timm.list_models(f'*{name}*')[:5]
        hint = f'similar names: {", ".join(similar)}' if similar else 'see timm.list_models()'
        raise ConfigError(f'encoder.model {name!r} is not a model of timm; {hint}.')
    try:
        model = timm.create_model(name, num_classes=0, **args)
    except (AssertionError, TypeError, NotImplementedError) as error:
        raise ConfigError(
            f"timm's {name} does not take {args} ({error}); "
            'leave out what it does not offer, such as output_stride.'
        ) from error
    if isinstance(getattr(model, 'pre_logits', None), nn.Module):
        model.pre_logits = nn.Identity()  # VGG: 120 million weights that nobody would train
    return model


def _timm_weights(name):
    try:
        return timm.create_model(name, pretrained=True, num_classes=0).state_dict()
    except Exception as error:  # whatever the hub client raises without a network
        source = timm.get_pretrained_cfg(name)
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
    # a checkpoint of a whole embedder has its encoder under this name
    return read_state_dict(path, strip=('module.', 'encoder.model.'))
