"""Parameters and floating-point operations of a config's model, and an input to run it on."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterator

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import init_default_scope
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count, sdpa_flop_count

from rs_mm.errors import ConfigError
from rs_mm.registry import MODELS


def flop_counter(depth: int = 2) -> FlopCounterMode:
    """Torch's counter, extended by two operators of CPUs that it knows only by other names."""
    extra = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}
    if torch.backends.mkldnn.is_available():
        extra[torch.ops.mkldnn._convolution_pointwise] = _convolution_flops
    return FlopCounterMode(display=False, depth=depth, custom_mapping=extra)


@contextlib.contextmanager
def unfused_attention() -> Iterator[None]:
    """Prevents torch from fusing whole attention layers, which the counter cannot count."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def _attention_flops(query, key, value, *args, out_shape=None, **kwargs):
    return sdpa_flop_count(query, key, value)


def _convolution_flops(x, weight, *args, out_shape=None, **kwargs):
    return conv_flop_count(x, weight, out_shape)


def build_model(cfg: Config) -> nn.Module:
    """Builds the model of a config, in evaluation mode.

    ``init_weights`` is not called, because counts and times do not depend on the weights; so no
    pretrained file is needed.
    """
    init_default_scope(cfg.get('default_scope', 'rs_mm'))
    return revert_sync_batchnorm(MODELS.build(cfg.model)).eval()


def example_batch(
    model: nn.Module, batch: int, height: int, width: int, device: str = 'cpu'
) -> dict:
    """Makes a batch of random pixels in the form of the model's data pipeline.

    A model makes its input in ``example_inputs(batch, height, width)``, which returns the
    keyword arguments ``inputs`` and ``data_samples`` of its ``data_preprocessor``.

    Raises:
        ConfigError: a size is not positive, or the model does not have this method.
    """
    if min(batch, height, width) < 1:
        raise ConfigError(
            f'a batch of {batch} input(s) of {height} x {width} is empty: every size '
            'must be at least 1.'
        )
    if not hasattr(model, 'example_inputs'):
        raise ConfigError(
            f'{type(model).__name__} has no method `example_inputs(batch, height, '
            'width)`, which tells the analysis tools what to run it on.'
        )
    return model.example_inputs(batch, height, width)


def count_flops(model: nn.Module, batch: dict) -> tuple[int, dict[str, int]]:
    """Counts multiply-adds of one forward pass, in all and by top-level part.

    torch counts while the pass runs, so only operations that are really computed count: matrix
    products, convolutions and attention. Elementwise operations, pooling and sampling do not count.

    Args:
        model: the model in evaluation mode.
        batch: see :func:`example_batch`.
    """
    data = model.data_preprocessor(batch, False)
    with unfused_attention(), torch.no_grad(), flop_counter() as counter:
        model(**data, mode='predict')
    name = type(model).__name__
    parts, counted = defaultdict(int), set()
    for module, counts in sorted(counter.get_flop_counts().items()):
        # a part that is not called directly (only its `predict`) is the sum of the parts that it
        # calls
        ancestors = {module[:i] for i, letter in enumerate(module) if letter == '.'}
        if module.startswith(f'{name}.') and not ancestors & counted:
            counted.add(module)
            parts[module.split('.')[1]] += sum(counts.values()) // 2
    return counter.get_total_flops() // 2, parts


def count_parameters(model: nn.Module) -> tuple[int, dict[str, int]]:
    """Counts trainable and frozen parameters, in all and by top-level part."""
    parts = {
        name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()
    }
    return sum(p.numel() for p in model.parameters()), {k: v for k, v in parts.items() if v}
