"""SCCNet's optional loss terms, which compare areas of the predicted and the true masks.

Source: the published code of SCCNet. Both terms are functions of the argmax and have no gradient:
they change the logged loss but not the training.
"""

from __future__ import annotations

import torch
from torch import Tensor


def _penalty(x):
    return -(1 - x) * torch.log(0.1 + x)


def focal_agreement(pred: Tensor, target: Tensor) -> Tensor:
    """Grows as fewer pixels of the batch are predicted as foreground.

    Args:
        pred: (B, H, W), 0 or 1.
        target: not used; both terms have the same arguments.

    Returns:
        A scalar.
    """
    return _penalty(pred.float().mean())


def area_agreement(pred: Tensor, target: Tensor) -> Tensor:
    """Grows with the difference of the batch's predicted and true foreground areas.

    Args:
        pred, target: (B, H, W), 0 or 1.

    Returns:
        A scalar.
    """
    p, g = pred.float().mean(), target.float().mean()
    return _penalty(torch.minimum(p, g) / (0.01 + torch.maximum(p, g)))
