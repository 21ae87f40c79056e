"""Classification losses of an embedder."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from rs_mm.errors import ConfigError
from rs_mm.registry import MODELS


@MODELS.register_module()
class MultiLabelBCELoss(nn.Module):
    """Binary cross entropy with logits, mean over batch and labels (``ml_xent`` of the original).

    Args:
        loss_weight: factor of the loss.
        loss_name: its name in the log, after ``loss_``.
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'bce') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(
        self,
        embedding: Tensor | None = None,
        logits: Tensor | None = None,
        labels: Tensor | None = None,
        sample_idx: Tensor | None = None,
    ) -> Tensor:
        """The loss of logits (N, L) and labels (N, L) of 0 and 1; the others are not used."""
        logits, labels = checked_logits(logits, labels)
        return self.loss_weight * F.binary_cross_entropy_with_logits(logits, labels)


@MODELS.register_module()
class LabelCrossEntropyLoss(nn.Module):
    """Cross entropy over the softmax of the logits, mean over the batch (``xent``).

    With one label per image this is the usual cross entropy; several labels add up.

    Args:
        loss_weight: factor of the loss.
        loss_name: its name in the log, after ``loss_``.
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = 'xent') -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(
        self,
        embedding: Tensor | None = None,
        logits: Tensor | None = None,
        labels: Tensor | None = None,
        sample_idx: Tensor | None = None,
    ) -> Tensor:
        """The loss of logits (N, L) and labels (N, L) of 0 and 1; the others are not used."""
        logits, labels = checked_logits(logits, labels)
        return self.loss_weight * F.cross_entropy(logits, labels)


def checked_logits(logits: Tensor | None, labels: Tensor | None) -> tuple[Tensor, Tensor]:
    """Returns the logits in float32 and the labels, both (N, L).

    Raises:
        ConfigError: the head makes no logits, or their number differs from the number of labels.
    """
    if logits is None:
        raise ConfigError('a classification loss needs logits, but model.head makes none.')
    if labels is None:
        raise ConfigError('a classification loss needs `labels`, one row of 0 and 1 per image.')
    if logits.shape != labels.shape:
        raise ConfigError(
            f'the labels have {labels.shape[1]} columns, but model.head has '
            f'num_classes={logits.shape[1]}; make them equal.'
        )
    return logits.float(), labels
