"""Building a network of timm and taking its maps, for :class:`TimmEncoder`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import timm
import torch
from torch import Tensor, nn

from rs_mm.errors import ConfigError, suggest

# flags that let a network take images of any size; each family has some of them
_ANY_SIZE = ({'dynamic_img_size': True, 'dynamic_img_pad': True}, {'dynamic_img_size': True}, {})
_OF_SIZE = (RuntimeError, AssertionError, ValueError, TypeError)


def create(name: str, args: dict) -> nn.Module:
    """Builds a network of timm without its classifier, for any image size if its family allows it.

    Args:
        name: timm's name.
        args: arguments of the network; missing arguments for the image size are added.

    Raises:
        ConfigError: timm has no such network, or it does not take an argument.
    """
    if name not in timm.list_models():
        similar = timm.list_models(f'*{name}*')[:5]
        stem = name.partition('.')[0]  # before the tag of weights
        hint = f'; similar names: {", ".join(similar)}' if similar else ''
        hint = hint or suggest(stem, timm.list_models()) or '; see timm.list_models()'
        raise ConfigError(f'encoder.model {name!r} is not a model of timm{hint}')
    for flags in _ANY_SIZE:
        try:
            model = timm.create_model(name, num_classes=0, **{**flags, **args})
            break
        except (AssertionError, TypeError, NotImplementedError, RuntimeError) as error:
            # an unknown argument is found before any weight is drawn
            if flags and any(f"'{flag}'" in str(error) for flag in flags):
                continue
            raise ConfigError(
                f"timm's {name} does not take {args} ({error}); "
                'leave out what it does not offer, such as output_stride.'
            ) from error
    if isinstance(getattr(model, 'pre_logits', None), nn.Module):
        model.pre_logits = nn.Identity()  # VGG: 120 million unused weights
    return model


def built_size(model: nn.Module, img_size: int | Sequence[int] | None) -> tuple[int, int] | None:
    """Returns the (H, W) that a network is built for; None for a network that takes any size."""
    cfg = model.pretrained_cfg
    if img_size is None and not cfg.get('fixed_input_size'):
        return None
    if img_size is None:
        height, width = cfg['input_size'][-2:]
        return height, width
    height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
    return height, width


def shapes(
    model: nn.Module, maps: Callable, in_channels: int, size: Sequence[int]
) -> list[tuple[int, ...]] | None:
    """Returns the shapes of ``maps(model, images)`` for two images (in_channels, *size), without
    computing.

    Returns:
        One shape per map, or None if the network cannot take images of that size.
    """
    # a copy without data, because networks cache values for a size, and weights are large
    memo = {id(x): nn.Parameter(x.to('meta'), x.requires_grad) for x in model.parameters()}
    memo.update((id(x), x.to('meta')) for x in model.buffers())
    images = torch.empty(2, in_channels, *size, device='meta')
    try:
        with torch.no_grad():
            result = maps(copy.deepcopy(model, memo), images)
    except _OF_SIZE:
        return None
    result = [result] if torch.is_tensor(result) else result
    return [tuple(x.shape) for x in result] if all(map(torch.is_tensor, result)) else None


def plain_features(model: nn.Module, images: Tensor) -> Tensor:
    """Returns the output of the network's own ``forward_features``."""
    return model.forward_features(images)


def last_map(model: nn.Module, images: Tensor) -> list[Tensor]:
    """Returns the output of the last block as a map (N, C, h, w)."""
    return model.forward_intermediates(
        images, indices=1, output_fmt='NCHW', intermediates_only=True
    )


def last_map_normalised(model: nn.Module, images: Tensor) -> list[Tensor]:
    """Returns the output of the last block after the network's last norm, as a map (N, C, h, w)."""
    return model.forward_intermediates(
        images, indices=1, norm=True, output_fmt='NCHW', intermediates_only=True
    )


def leave_out_head(model: nn.Module) -> None:
    """Removes norms and projections of a classifier, which would never get a gradient."""
    for name in ('head', 'fc_norm', 'attn_pool'):
        if any(True for _ in getattr(model, name, nn.Identity()).parameters()):
            setattr(model, name, nn.Identity())


class StageMaps:
    """Returns a function that takes the outputs of some stages as maps (N, C_i, h_i, w_i).

    Args:
        indices: timm's numbers of the stages.
    """

    def __init__(self, indices: list[int]) -> None:
        self.indices = sorted(indices)
        self.order = [self.indices.index(number) for number in indices]

    def __call__(self, model: nn.Module, images: Tensor) -> list[Tensor]:
        maps = model.forward_intermediates(
            images, indices=self.indices, output_fmt='NCHW', intermediates_only=True
        )
        return [maps[number] for number in self.order]  # timm keeps the network's order


def stages(model: nn.Module) -> list[int]:
    """Returns timm's numbers of the stages from stride 4 on, fine to coarse; empty for a plain
    network.

    A plain network (a vision transformer, a mixer) has one resolution from its first block to its
    last.
    """
    strides = [stage['reduction'] for stage in getattr(model, 'feature_info', [])]
    if not strides or max(strides) < 2 * min(strides):
        return []
    return [number for number, stride in enumerate(strides) if stride >= 4]
