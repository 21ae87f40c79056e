"""Collating single images to a batch."""

from __future__ import annotations

import torch
from mmengine.dataset import pseudo_collate

from rs_mm.registry import FUNCTIONS


@FUNCTIONS.register_module()
def stack_collate(batch: list[dict]) -> dict:
    """Collates images and their data samples with one tensor of images and one of labels.

    A worker passes each tensor through its own file descriptor. Two tensors per batch instead of
    two per image save much of the time that small images take to load. Images of different shapes
    and labels of different lengths are not stacked.

    Args:
        batch: per image, ``inputs`` (C, H, W) and ``data_samples``, an
            :class:`~rs_mm.structures.EmbeddingDataSample` with or without ``gt_label``.

    Returns:
        ``inputs`` (N, C, H, W), or a list if shapes differ, and the list ``data_samples``,
        whose labels are rows of one tensor.
    """
    data = pseudo_collate(batch)
    if len({image.shape for image in data['inputs']}) == 1:
        data['inputs'] = torch.stack(data['inputs'])
    samples = data['data_samples']
    labels = [sample.get('gt_label') for sample in samples]
    if all(label is not None for label in labels) and len({len(label) for label in labels}) == 1:
        for sample, row in zip(samples, torch.stack(labels)):
            sample.gt_label = row
    return data
