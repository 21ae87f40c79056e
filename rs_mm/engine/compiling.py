"""torch.compile for the parts of a model that take and return tensors."""

from __future__ import annotations

from torch import nn

from rs_mm.engine.strategies import submodule
from rs_mm.unwrap import unwrap


def compile_parts(model: nn.Module, options: dict | None = None) -> None:
    """Compiles the networks of a model in place; each is traced when it first runs.

    The rest (losses, samples with their file names, mixed precision, the optimizer's step) stays
    eager. It takes little time, and tracing it would add guards on values that change with every
    batch. mmengine's own ``compile=True`` traces the whole training step, which fails with mixed
    precision.

    Args:
        model: its attribute ``compiled_parts`` names the parts to compile, with dots between
            levels.
            A model without the attribute has its direct children compiled, except preprocessor
            and losses.
        options: arguments of ``torch.compile``.
    """
    model = unwrap(model)
    names = getattr(model, 'compiled_parts', None)
    if names is None:
        names = [
            name
            for name, _ in model.named_children()
            if name not in ('data_preprocessor', 'losses')
        ]
    for name in names:
        submodule(model, name, 'compiled_parts').compile(**(options or {}))
