"""A check whether the losses and the sampler of a segmentation head can do what the config says."""

from __future__ import annotations

import copy
import warnings
from types import SimpleNamespace

import torch
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.models.losses import CrossEntropyLoss
from torch import nn

from rs_mm.errors import ConfigError

_SIDE = 8
# the loss of rs_mm to use if a loss of mmseg cannot do it
_OURS = dict(
    CrossEntropyLoss='PixelCrossEntropyLoss',
    OhemCrossEntropy="PixelCrossEntropyLoss (with sampler=dict(type='OHEMPixelSampler', ...))",
    FocalLoss='PixelFocalLoss',
    DiceLoss='PixelDiceLoss',
    TverskyLoss='PixelTverskyLoss',
    LovaszLoss='PixelLovaszLoss',
    HuasdorffDisstanceLoss='PixelDiceLoss',
    BoundaryLoss='PixelDiceLoss',
    SiLogLoss='PixelCrossEntropyLoss',
)


def check_map_losses(model: nn.Module) -> list[str]:
    """Tries the losses of every head of mmseg on a small map, with and without ignored pixels.

    Args:
        model: a built model, on the device it trains on.

    Returns:
        Sentences for the log about settings that are possible but may be unintended.

    Raises:
        ConfigError: a loss cannot be computed, or a sampler has no effect on one.
    """
    remarks = []
    for name, head in model.named_modules():
        # a head with its own computation of losses may need more than logits and labels
        if isinstance(head, BaseDecodeHead) and (
            type(head).loss_by_feat is BaseDecodeHead.loss_by_feat
        ):
            remarks += _check_head(head, f'model.{name}')
    return remarks


def _check_head(head, name):
    losses = head.loss_decode
    losses = list(losses) if isinstance(losses, nn.ModuleList) else [losses]
    device = next(head.parameters()).device
    for loss in losses:
        _check_lengths(head, loss, name)
    remarks = []
    for loss in losses:
        kind = type(loss).__name__
        what = f"`{name}.loss_decode`, type='{kind}'"
        gradient = _try(head, loss, what, device)
        ours = f'type={_OURS[kind]!r} of rs_mm' if kind in _OURS else 'another loss'
        if gradient['ignored'] > 0:
            remarks.append(
                f'{what} counts pixels with the label {head.ignore_index} as if they had one; '
                f'if there are ignored pixels, use {ours}.'
            )
        if not gradient['finite']:
            remarks.append(
                f'{what} is not a number if all pixels of an image are ignored; use {ours} '
                'if there are such images.'
            )
        if gradient['unsampled'] > 0:
            raise ConfigError(
                f'{what} ignores `{name}.sampler`: remove the sampler (sampler=None), '
                f'or use {ours}.'
            )
        if isinstance(loss, CrossEntropyLoss) and loss.class_weight is not None:
            loss.register_forward_pre_hook(_refuse_ignored, with_kwargs=True)
    if not any('loss' in loss.loss_name for loss in losses):
        raise ConfigError(
            f'`{name}.loss_decode`: no `loss_name` begins with loss_, so nothing would be trained.'
        )
    return remarks


def _check_lengths(head, loss, name):
    classes = max(2, head.out_channels)
    for key, wanted in (('class_weight', classes), ('alpha', head.out_channels)):
        values = getattr(loss, key, None)
        if isinstance(values, (list, tuple)) and len(values) != wanted:
            raise ConfigError(
                f"`{name}.loss_decode`, type='{type(loss).__name__}': {key} has {len(values)} "
                f'values, but the head has {wanted} classes; give one value for each.'
            )


def _try(head, loss, what, device):
    """Returns the gradients of a loss at ignored pixels and at pixels that the sampler left out."""
    rows = torch.arange(_SIDE * _SIDE, device=device).view(1, 1, _SIDE, _SIDE)
    classes = max(2, head.num_classes)
    label = rows % classes
    ignored = label.clone()
    if head.ignore_index is not None:
        ignored[..., : _SIDE // 2, :] = head.ignore_index
    plain, _ = _gradient(head, loss, what, label)
    # if a loss fails only with ignored pixels, _refuse_ignored reports it when they occur
    if isinstance(loss, CrossEntropyLoss) and loss.class_weight is not None:
        return dict(ignored=0.0, unsampled=plain, finite=True)
    _, beside = _gradient(head, loss, what, ignored)
    finite = True
    if head.ignore_index is not None:
        value = _value(head, loss, what, torch.full_like(label, head.ignore_index))[0]
        finite = bool(value.isfinite().all()) and value.numel() > 0
    return dict(ignored=beside, unsampled=plain, finite=finite)


def _gradient(head, loss, what, label):
    """Returns the largest gradient at pixels that the sampler left out, and at ignored pixels."""
    value, logits, weight = _value(head, loss, what, label)
    if not value.requires_grad:
        return 0.0, 0.0
    gradient = torch.autograd.grad(value.mean(), logits)[0].abs().amax(1)
    valid = label[:, 0] != head.ignore_index
    passed = valid & (weight == 0) if weight is not None else torch.zeros_like(valid)
    return [float(gradient[where].max()) if where.any() else 0.0 for where in (passed, ~valid)]


def _value(head, loss, what, label):
    try:
        return _compute(head, loss, label, head.sampler)
    except Exception as error:  # losses are foreign code and raise errors of any type
        kind, said = type(loss).__name__, ' '.join(str(error).split())[:200]
        ours = f'take type={_OURS[kind]!r} of rs_mm' if kind in _OURS else 'take another loss'
        if head.sampler is not None and _works_without_sampler(head, loss, label):
            ours = f'set `thresh` of the sampler, remove it (sampler=None), or {ours}'
        raise ConfigError(
            f'{what} cannot be computed as this config has it: {type(error).__name__}'
            f'{": " + said.rstrip(".") if said else ""}; {ours}.'
        ) from error


def _works_without_sampler(head, loss, label):
    try:
        _compute(head, loss, label, None)
        return True
    except Exception:  # the first failure is the one to report
        return False


def _compute(head, loss, label, sampler):
    """Returns the loss, its logits, and the sampler's weights."""
    # no random numbers: a check must not change what the training draws
    steps = torch.arange(head.out_channels * _SIDE * _SIDE, device=label.device)
    logits = torch.sin(steps * 1.7).view(1, head.out_channels, _SIDE, _SIDE).requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        weight = None
        if sampler is not None:
            sampler = copy.copy(sampler)
            if hasattr(sampler, 'min_kept'):
                sampler.min_kept = _SIDE
            if hasattr(sampler, 'context'):
                sampler.context = SimpleNamespace(loss_decode=loss, ignore_index=head.ignore_index)
            weight = sampler.sample(logits, label)
        value = loss(logits, label[:, 0], weight=weight, ignore_index=head.ignore_index)
    return value, logits, weight


def _refuse_ignored(loss, args, kwargs):
    """Refuses ignored pixels, because mmseg looks up a class weight for every label."""
    logits, label = args[:2]
    if int(label.max()) >= max(2, logits.shape[1]):
        raise ConfigError(
            "type='mmseg.CrossEntropyLoss' with class_weight cannot leave pixels out, and this "
            "batch has ignored ones; take type='PixelCrossEntropyLoss' of rs_mm."
        )
