"""A memory of one embedding per training image, updated with a momentum, for SNDL."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from mmengine import dist
from mmengine.model import BaseModule
from torch import Tensor

from rs_mm.errors import CheckpointError, ConfigError, DataError
from rs_mm.registry import MODELS


@MODELS.register_module()
class FeatureBank(BaseModule):
    """A memory of the embeddings and labels of all training images, saved in the model's
    checkpoint.

    Rows start uniform in (-s, s) with ``s = sqrt(3 / dim)``, not normalised, as published. The
    labels are filled in by :class:`~rs_mm.engine.hooks.feature_bank.FeatureBankHook` before
    training, which also sets the momentum; they are saved too, so a checkpoint is enough to
    classify by nearest neighbours.

    Source: Kang et al., "Graph Relation Network", TGRS 2020, Sec. III-B, Eq. (8).

    Args:
        size: number N of training images; row i belongs to the sample with
            ``sample_idx == i``.
        dim: dimension D of the embedding.
        num_classes: number L of labels. Default: taken from the labels in :meth:`set_labels`, or
            from the checkpoint.
        momentum: share of the old row that an update keeps, in [0, 1).

    Attributes:
        features: (N, D) float32.
        labels: (N, L) uint8 of 0 and 1.
        labelled: bool scalar, whether ``labels`` have been set.
    """

    features: Tensor
    labels: Tensor
    labelled: Tensor

    def __init__(
        self,
        size: int,
        dim: int,
        num_classes: int | None = None,
        momentum: float = 0.5,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        if size < 1:
            raise ConfigError(f'FeatureBank: `size` is the number of training images, not {size}.')
        bound = math.sqrt(3 / dim)
        self.register_buffer('features', torch.empty(size, dim).uniform_(-bound, bound))
        self.register_buffer('labels', torch.zeros(size, num_classes or 0, dtype=torch.uint8))
        self.register_buffer('labelled', torch.tensor(False))
        self.open_labels = num_classes is None
        self.momentum = momentum

    @property
    def momentum(self) -> float:
        """Share of the old row that an update keeps."""
        return self._momentum

    @momentum.setter
    def momentum(self, value: float) -> None:
        if not 0 <= value < 1:
            raise ConfigError(f'FeatureBank: `momentum` must lie in [0, 1), not {value}.')
        self._momentum = float(value)

    @torch.no_grad()
    def set_features(self, features: Tensor) -> None:
        """Sets the embeddings of all rows, for example those of a trained model.

        Args:
            features: (N, D), finite; they are not normalised.

        Raises:
            ConfigError: the number of rows or dimensions is not that of the bank.
            DataError: a value is not finite.
        """
        if tuple(features.shape) != tuple(self.features.shape):
            raise ConfigError(
                f'the memory holds {len(self.features)} embeddings of {self.features.shape[1]} '
                f'dimensions, but got {tuple(features.shape)}; set `size` and `dim` of the '
                'FeatureBank accordingly.'
            )
        if not bool(features.isfinite().all()):
            raise DataError('an embedding for the memory is NaN or infinite.')
        self.features.copy_(features)

    def set_labels(self, labels: Tensor) -> None:
        """Sets the labels of all rows.

        Args:
            labels: (N, L), values 0 and 1; a row may be all zero.

        Raises:
            ConfigError: the number of rows or labels is not that of the bank.
            DataError: a label is not 0 or 1.
        """
        if self.open_labels and labels.dim() == 2 and len(labels) == len(self.labels):
            self.labels = self.labels.new_zeros(labels.shape)
        if tuple(labels.shape) != tuple(self.labels.shape):
            raise ConfigError(
                f'the memory is built for {self.labels.shape[0]} training images with '
                f'{self.labels.shape[1]} labels, but the training set has {labels.shape[0]} with '
                f'{labels.shape[1]}; set `size` and `num_classes` of the FeatureBank accordingly.'
            )
        if not bool(((labels == 0) | (labels == 1)).all()):
            raise DataError('the labels of the training set must be 0 or 1 for the memory.')
        self.labels.copy_(labels)
        self.labelled.fill_(True)

    def check_index(self, index: Tensor) -> None:
        """Raises a DataError if an index lies outside the memory."""
        if not index.numel():
            return
        low, high = torch.stack(torch.aminmax(index)).tolist()  # one wait for a GPU
        if low < 0 or high >= len(self.features):
            raise DataError(
                f'sample index {low if low < 0 else high} lies outside the memory of '
                f'{len(self.features)} rows; `size` of the FeatureBank must be the number of '
                'training images.'
            )

    @torch.no_grad()
    def update(self, features: Tensor, index: Tensor) -> None:
        """Moves the rows of a batch towards their new embeddings and gives them length 1.

        Every process applies the rows of all processes, ordered by rank, so all processes hold the
        same memory as one process with the joint batch. If a row occurs more than once, each
        occurrence starts from the old row and the last one stays. An embedding that is not finite
        leaves its row as it was.

        Args:
            features: (B, D), L2-normalised.
            index: (B,) int64, rows of the memory.
        """
        features, index = _gather_rows(features.detach().float()), _gather_rows(index)
        self.check_index(index)
        old = self.features[index]
        new = old * self.momentum + features * (1 - self.momentum)
        new = new / new.norm(dim=1, keepdim=True)
        new = torch.where(new.isfinite().all(1, keepdim=True), new, old)
        # all occurrences of a row write the last one's value: the order of writing cannot matter
        position = torch.arange(len(index), device=index.device)
        last = torch.where(index[:, None] == index, position, -1).amax(1)
        self.features[index] = new[last]

    def synchronize(self) -> None:
        """Gives every process the memory of rank 0."""
        for buffer in self.buffers():
            dist.broadcast(buffer)

    def _load_from_state_dict(self, state_dict, prefix, *args, **kwargs):
        saved = state_dict.get(prefix + 'labels')
        if self.open_labels and saved is not None and len(saved) == len(self.labels):
            self.labels = self.labels.new_zeros(saved.shape)
        # mmengine only logs a tensor of another shape and would continue with a random memory
        for name in ('features', 'labels'):
            saved, own = state_dict.get(prefix + name), getattr(self, name)
            if saved is not None and saved.shape != own.shape:
                raise CheckpointError(
                    f'the checkpoint holds a memory with `{name}` of shape {tuple(saved.shape)}, '
                    f'the model one of {tuple(own.shape)}: it was made for another training set or '
                    'embedding. Set `size`, `dim` and `num_classes` of the FeatureBank to the '
                    "checkpoint's, or start from its encoder alone with `model.encoder.init_cfg="
                    "dict(type='Pretrained', checkpoint=FILE)`."
                )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _gather_rows(rows: Tensor) -> Tensor:
    """Concatenates the rows of every process in the order of the ranks."""
    if dist.get_world_size() == 1:
        return rows
    counts = [int(n) for n in dist.all_gather(torch.tensor([len(rows)], device=rows.device))]
    padding = (0, 0) * (rows.dim() - 1) + (0, max(counts) - len(rows))
    gathered = dist.all_gather(F.pad(rows, padding).contiguous())
    return torch.cat([part[:count] for part, count in zip(gathered, counts)])
