"""Hashes of a model, which tell its features from those of another model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import nn

_PLAIN = (str, int, float, bool, type(None))


def model_identity(parts: Sequence[nn.Module]) -> dict[str, str]:
    """Returns hashes of the architecture (classes and plain settings of all modules) and of all
    weights."""
    arch, weights = hashlib.sha256(), hashlib.sha256()
    for number, part in enumerate(parts):
        for name, module in part.named_modules():
            settings = {
                key: value
                for key, value in sorted(vars(module).items())
                if key != 'training' and key[0] != '_' and _is_plain(value)
            }
            arch.update(f'{number}.{name} {type(module).__name__} {settings}'.encode())
        tensors = {**dict(part.named_parameters()), **dict(part.named_buffers())}
        for name, value in sorted(tensors.items()):
            weights.update(f'{number}.{name}'.encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            weights.update(flat.view(torch.uint8).numpy().data)
    return dict(arch=arch.hexdigest(), weights=weights.hexdigest())


def _is_plain(value):
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)
