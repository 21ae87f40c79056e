"""The fusion of predicted masks with masks found in eigenvectors."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from skimage.filters import threshold_multiotsu
from torch import Tensor

from rs_mm.errors import ConfigError, DataError
from rs_mm.registry import MODELS
from rs_mm.structures import EpisodeDataSample

from .store import EigenvectorStore


def eigenvector_mask(vector: np.ndarray) -> np.ndarray:
    """Finds the object in an eigenvector.

    A pixel belongs to the object if it is above the upper of two multi-Otsu thresholds and above
    its surroundings: after scaling to 0..255, more than the mean of 9 x 9 pixels minus 2.

    Args:
        vector: (h, w), float.

    Returns:
        (h, w) bool; empty if the vector has fewer than three different values.
    """
    try:
        upper = threshold_multiotsu(vector, classes=3)[1]
    except ValueError:  # fewer than three values
        return np.zeros(vector.shape, bool)
    low, high = vector.min(), vector.max()
    scaled = ((vector - low) / (1e-6 + high - low) * 255).astype(np.uint8)
    local = cv2.adaptiveThreshold(scaled, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 9, 2)
    return (vector > upper) & (local > 0)


def enlarge_mask(mask: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Enlarges a mask. As published, the mask shrinks, because only pixels that are fully inside
    count.

    Args:
        mask: (h, w) bool.
        size: (H, W).

    Returns:
        (H, W) bool.
    """
    inside = torch.from_numpy(mask)[None, None].float()
    return F.interpolate(inside, size, mode='bilinear', align_corners=True)[0, 0].int().bool()


def mask_iou(a: Tensor, b: Tensor) -> float:
    """Returns the intersection over union of two (H, W) masks; 0 for two empty masks."""
    a, b = a.bool(), b.bool()
    return (a & b).sum().item() / max((a | b).sum().item(), 1)


@MODELS.register_module()
class SpectralFusion:
    """A post-processor that unites a predicted mask with the mask of an eigenvector if the two
    overlap.

    ``fuse`` takes the first eigenvector that is not constant, and unites if its IoU with the
    *prediction* exceeds ``min_iou``. ``perfect`` is an oracle: of eigenvectors 1 to 4 it takes the
    one with the largest IoU with the *ground truth*, and unites if that exceeds ``min_iou``.

    Source: the published code of SCCNet; its table of results was made with ``fuse``.

    Args:
        eig_dir: folder of :class:`EigenvectorStore`.
        mode: ``fuse`` or ``perfect``.
        min_iou: see above.
        decomposition: a :class:`SpectralDecomposition`, which computes missing eigenvectors from
            the query's image file and stores them in the folder. None: a missing file is an error.
    """

    def __init__(
        self,
        eig_dir: str,
        mode: str = 'fuse',
        min_iou: float = 0.1,
        decomposition: dict | None = None,
    ) -> None:
        if mode not in ('fuse', 'perfect'):
            raise ConfigError(f'`mode` of SpectralFusion must be fuse or perfect, not {mode!r}.')
        self.mode, self.min_iou = mode, min_iou
        self.decomposition = decomposition and MODELS.build(decomposition)
        self.eig_dir = eig_dir

    @cached_property
    def store(self) -> EigenvectorStore:
        """The folder of eigenvectors, opened at first use, because opening it loads the weights of
        the decomposition."""
        return EigenvectorStore(
            self.eig_dir, self.decomposition.settings if self.decomposition else None
        )

    def __call__(self, sample: EpisodeDataSample) -> Tensor:
        """Refines a prediction.

        Args:
            sample: with ``pred_mask``, ``query_name``; ``query_path`` to compute; ``gt_mask`` for
                ``perfect``. If it has ``query_pixels``, (H, W, 3) uint8 RGB, the eigenvectors are
                computed from them and not stored, because a folder identifies images only by name.

        Returns:
            The mask (H, W), of the dtype of ``pred_mask``.

        Raises:
            MissingFileError: the eigenvectors are missing.
            DataError: there are too few eigenvectors, or ``perfect`` has no ground truth.
        """
        pred = sample.pred_mask
        vectors = self._vectors(sample)
        count = 2 if self.mode == 'fuse' else 5
        if len(vectors) < count:
            raise DataError(
                f'{Path(self.eig_dir) / sample.query_name}.npy holds {len(vectors)} '
                f'eigenvectors, but mode {self.mode} needs {count}.'
            )
        masks = [
            enlarge_mask(eigenvector_mask(vector), tuple(pred.shape)).to(pred.device)
            for vector in vectors[1:count]
        ]
        if self.mode == 'fuse':
            best, overlap = masks[0], mask_iou(masks[0], pred)
        else:
            if 'gt_mask' not in sample:
                raise DataError(
                    f'query {sample.query_name}: mode perfect of SpectralFusion needs '
                    'the ground truth.'
                )
            target = sample.gt_mask.to(pred.device)
            overlaps = [mask_iou(mask, target) for mask in masks]
            overlap = max(overlaps)
            best = masks[overlaps.index(overlap)]
        if overlap <= self.min_iou:
            return pred
        return (pred.bool() | best).to(pred.dtype)

    def _vectors(self, sample):
        name = sample.query_name
        if 'query_pixels' in sample:
            if self.decomposition is None:
                raise ConfigError(
                    'the eigenvectors of images in memory are computed: set '
                    '`model.post_processor.decomposition`, e.g. to '
                    "dict(type='SpectralDecomposition')."
                )
            return self.decomposition(sample.query_pixels)[1].astype(np.float32)
        if self.decomposition is None or self.store.path(name).is_file():
            return self.store.load(name)
        from rs_mm.datasets.pictures import read_rgb

        vectors = self.decomposition(read_rgb(sample.query_path))[1]
        self.store.save(name, vectors)
        return vectors
