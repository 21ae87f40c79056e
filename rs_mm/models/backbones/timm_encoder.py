"""Any network of timm as an encoder, for any number of input bands."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn

from rs_mm.errors import ConfigError
from rs_mm.models.utils.pretrained import pretrained_file
from rs_mm.registry import MODELS

from . import timm_network as network
from .ibn import add_ibn_a
from .simple_pyramid import SimpleFeaturePyramid
from .strides import dilate_first_block, fix_padding, remove_strides
from .timm_weights import load_weights


@MODELS.register_module()
class TimmEncoder(BaseModule):
    """An encoder that returns maps of a timm network: the last map for an embedder, several for a
    change detector.

    Networks of tokens (vision transformers) and of NHWC maps (Swin) give maps (N, C, h, w), too. If
    a family has an option for images of any size, it is set. For a network of one size, smaller
    images are padded, and the maps are cut to the part that the image covers; a warning says so.

    Images and weights are kept as NHWC, with which convolutions are faster: 1.5 times on a GPU with
    tensor cores (a ResNet-18 in training), by a tenth on CPUs.

    Args:
        model: timm's name, e.g. ``resnet50``, ``legacy_seresnet50`` (with the ceil-mode pool of
            the Caffe original), ``convnext_tiny``, ``swin_s3_tiny_224``,
            ``vit_small_patch14_dinov2``, ``vit_large_patch16_dinov3.sat493m``.
        in_channels: number of input bands.
        out_indices: the stages to return, fine to coarse, counted from the stage of stride 4 (0:
            stride 4, 1: stride 8, ...). None: only the last map. A plain vision transformer has one
            resolution; its four stages are made by :class:`SimpleFeaturePyramid`.
        img_size: builds the network for images of this size (a side, or height and width), if its
            family has this argument; needed for images larger than the size of a network of one
            size.
        frozen: no gradients and no updates; batch norms and dropout as in evaluation.
        pyramid_channels: channels of the stages of a plain network.
        output_stride: 32, 16 or 8, if the family offers it.
        dilate: how later blocks compensate for a smaller stride. ``all``: all blocks dilate, the
            usual way of timm; ``first``: only the first block of a stage dilates, as in the
            original OML code; ``none``: no block dilates, as in the EfficientNets of that code.
        ibn: puts IBN-a norms into a ResNet.
        linear_ends: drops the activation after the stem norm and after the last norm of an
            EfficientNet, as the original OML code does.
        fixed_padding: pads by kernel - stride at any input size, as the original OML code does.
        timm_args: further arguments of the timm model, e.g. ``dict(drop_path_rate=0.1)``.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)`` with a local file (with timm's
            parameter names, which torchvision's ResNets share, or the authors'), ``timm`` for
            timm's default weights of ``model``, or ``timm/NAME.TAG`` for other weights, e.g.
            ``timm/resnet50.tv_in1k``. The stem of a network with other bands gets
            :func:`~.timm_weights.spread_stem`.

    Attributes:
        out_channels: channels of the last map; with ``out_indices`` a tuple with one entry per
            stage.

    Examples:
        >>> encoder = TimmEncoder('resnet18', in_channels=10)
        >>> encoder(torch.rand(2, 10, 64, 64)).shape
        torch.Size([2, 512, 2, 2])
        >>> stages = TimmEncoder('vit_tiny_patch16_224', out_indices=(0, 1, 2, 3))
        >>> [tuple(x.shape[1:]) for x in stages(torch.rand(2, 3, 64, 64))]
        [(256, 16, 16), (256, 8, 8), (256, 4, 4), (256, 2, 2)]
    """

    def __init__(
        self,
        model: str,
        in_channels: int = 3,
        out_indices: Sequence[int] | None = None,
        img_size: int | Sequence[int] | None = None,
        frozen: bool = False,
        pyramid_channels: int = 256,
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
        self.name, self.in_channels, self.frozen = model, in_channels, frozen
        args = dict(timm_args or {}, in_chans=in_channels)
        if img_size is not None:
            args['img_size'] = img_size
        if dilate == 'all' and output_stride != 32:
            args['output_stride'] = output_stride
        self.model = network.create(model, args)
        if dilate == 'first' and output_stride != 32:
            dilate_first_block(self.model, output_stride)
        elif dilate == 'none' and output_stride != 32:
            remove_strides(self.model, output_stride)
        if ibn:
            self._require('ibn', 'layer4', 'a ResNet')
            add_ibn_a(self.model)
        if linear_ends:
            self._require('linear_ends', 'conv_head', 'an EfficientNet')
            self.model.bn1.act = self.model.bn2.act = nn.Identity()
        if fixed_padding:
            fix_padding(self.model)
        self.built_size = network.built_size(self.model, img_size)
        self._canvases: dict[tuple[int, int], tuple[int, int]] = {}
        self.pyramid, self.out_indices = None, None if out_indices is None else tuple(out_indices)
        self._choose_maps(pyramid_channels)
        self.model.to(memory_format=torch.channels_last)
        if frozen:
            self.model.requires_grad_(False)
            self.train(self.training)

    def _require(self, option, attribute, family):
        if not hasattr(self.model, attribute):
            raise ConfigError(f'encoder.{option} works with {family} only, not with {self.name}.')

    def _choose_maps(self, pyramid_channels):
        """Chooses how the maps are taken, and removes the layers that are then not used."""
        size = self.built_size or (224, 224)
        numbers = network.stages(self.model)
        if self.out_indices is None or not numbers:
            channels = self._choose_last_map(size)
        if self.out_indices is None:
            self.out_channels = channels
            return
        count = len(numbers) or 4
        if not self.out_indices or not all(0 <= index < count for index in self.out_indices):
            strides = [self.model.feature_info[number]['reduction'] for number in numbers]
            raise ConfigError(
                f'encoder.out_indices={self.out_indices}: {self.name} has {count} stages'
                + (f' of strides {strides}' if strides else '')
                + f'; name some of them from 0 to {count - 1}, or take another network.'
            )
        if numbers:
            chosen = [numbers[index] for index in self.out_indices]
            self.maps = network.StageMaps(chosen)
            self._prune(sorted(chosen), keep_norm=False)
            found = self._shapes(self.maps, size) or self._no_maps()
            self.out_channels = tuple(shape[1] for shape in found)
        else:
            self.pyramid = SimpleFeaturePyramid(channels, pyramid_channels)
            self.out_channels = (pyramid_channels,) * len(self.out_indices)

    def _choose_last_map(self, size):
        """Sets ``maps`` to the first method that gives a map; returns the channels of that map."""
        ways = (network.last_map_normalised, network.last_map)
        if self.out_indices is None:
            ways = (network.plain_features, *ways)
        for self.maps in ways:
            found = self._shapes(self.maps, size)
            if found and len(found[0]) == 4 and found[0][1] == self.model.num_features:
                break
        else:
            self._no_maps()
        if self.maps is network.plain_features:
            network.leave_out_head(self.model)
        else:
            self._prune(1, keep_norm=self.maps is network.last_map_normalised)
        return found[0][1]

    def _no_maps(self):
        raise ConfigError(
            f'encoder.model {self.name} gives no maps through timm; take another network.'
        )

    def _prune(self, indices, keep_norm):
        prune = getattr(self.model, 'prune_intermediate_layers', None)
        if prune is not None:
            prune(indices, prune_norm=not keep_norm, prune_head=True)

    def _shapes(self, maps, size):
        return network.shapes(self.model, maps, self.in_channels, size)

    def train(self, mode: bool = True) -> TimmEncoder:
        """Sets the mode; a frozen network stays in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.model.eval()
        return self

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Images (N, in_channels, H, W) to (N, out_channels, H', W'), or one map per stage.

        Raises:
            ConfigError: the images have another number of bands, or a size that the network cannot
                take.
        """
        if x.shape[1] != self.in_channels:
            raise ConfigError(
                f'the images have {x.shape[1]} bands, but model.encoder.in_channels '
                f'is {self.in_channels}; set it, or the bands that the pipelines of '
                'the datasets load.'
            )
        size = (x.shape[2], x.shape[3])
        canvas = size if self.built_size is None else self.canvas(size)
        if canvas != size:
            x = F.pad(x, (0, canvas[1] - size[1], 0, canvas[0] - size[0]))
        x = x.contiguous(memory_format=torch.channels_last)
        try:
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
                maps = self.maps(self.model, x)
        except (RuntimeError, AssertionError, ValueError) as error:
            if self._shapes(self.maps, canvas) is not None:
                raise
            raise self._wrong_size(size) from error
        maps = [maps] if torch.is_tensor(maps) else maps
        if canvas != size:
            maps = [_covered(x, size, canvas) for x in maps]
        if self.pyramid is not None:
            scales = self.pyramid(maps[0])
            maps = [scales[index] for index in self.out_indices]
        return maps[0] if self.out_indices is None else tuple(maps)

    @torch.compiler.disable
    def canvas(self, size: tuple[int, int]) -> tuple[int, int]:
        """Returns the size (H, W) to which a network of one size needs images of ``size``
        padded."""
        if size not in self._canvases:
            candidates = (size, *(_multiple(size, step) for step in (32, self.built_size)))
            fitting = (one for one in candidates if self._shapes(self.maps, one) is not None)
            canvas = next(fitting, None)
            if canvas is None:
                raise self._wrong_size(size)
            if canvas != size:
                print_log(
                    f'{self.name} takes images of {_text(canvas)}: images of {_text(size)} '
                    f'are padded with zeros; encoder.img_size={max(size)} builds it for them, '
                    'if its family allows it',
                    'current',
                    logging.WARNING,
                )
            self._canvases[size] = canvas
        return self._canvases[size]

    def _wrong_size(self, size):
        built = self.built_size
        advice = (
            f'it is built for {_text(built)}; '
            f'set encoder.img_size={max(size)}, or resize the images'
            if built
            else 'take larger images'
        )
        return ConfigError(f"timm's {self.name} cannot take images of {_text(size)}: {advice}.")

    def init_weights(self) -> None:
        """Loads the pretrained weights; without ``init_cfg`` timm's initialisation stays."""
        checkpoint = pretrained_file(self)
        if checkpoint:
            load_weights(self.model, self.name, checkpoint)


def _multiple(size, step):
    steps = (step, step) if isinstance(step, int) else step
    return tuple(math.ceil(length / one) * one for length, one in zip(size, steps))


def _covered(x, size, canvas):
    """Returns the part of a map that the image covers on its padded canvas."""
    height, width = (
        math.ceil(length * of_map / of_canvas)
        for length, of_map, of_canvas in zip(size, x.shape[-2:], canvas)
    )
    return x[..., :height, :width]


def _text(size):
    return f'{size[0]} x {size[1]}'
