"""The eigenvectors of an image from which deep spectral segmentation starts."""

from __future__ import annotations

import hashlib
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from rs_mm.errors import ConfigError, DataError
from rs_mm.models.backbones.pre_activation import PreActivationBackbone
from rs_mm.registry import MODELS

from .graph import colour_affinity, feature_affinity, smallest_eigenvectors

_MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
_STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


@MODELS.register_module()
class SpectralDecomposition:
    """Computes eigenvectors of the graph of deep features and colours of one image.

    The features are the last map of stride 16 before its ReLU, of the whole image at its own size.
    The graph's grid is a quarter of the image, rounded down to a multiple of 16 first. (At other
    sizes the published code mixes up the map; this class works at every size.)

    Cost for a 256 x 256 image: one pass of the backbone, a k-d tree of 4096 points, and a few dozen
    products with a 256 x 256 matrix. The 4096 x 4096 matrix (64 MB) is computed only if the
    features of two positions have a negative product; in general it takes N^2 * 4 bytes for N = H *
    W / 16.

    Args:
        arch: see :class:`PreActivationBackbone`.
        checkpoint: ImageNet weights, as in the ``init_cfg`` of that class; None for random weights.
        num_vectors: number of eigenvectors, including the constant one.
        colour_weight: weight lambda of the colour graph.
        factor: image pixels along one side of a graph position.
    """

    def __init__(
        self,
        arch: str = 'resnet50',
        checkpoint: str | None = 'torchvision://resnet50',
        num_vectors: int = 5,
        colour_weight: float = 5.0,
        factor: int = 4,
    ) -> None:
        if num_vectors < 2:
            raise ConfigError(
                '`num_vectors` of SpectralDecomposition must be at least 2: the '
                'first vector is constant.'
            )
        self.arch, self.checkpoint = arch, checkpoint
        self.num_vectors, self.colour_weight, self.factor = num_vectors, colour_weight, factor

    @cached_property
    def backbone(self) -> nn.Module:
        """The network, loaded at first use; it is not needed for eigenvectors on disk."""
        init_cfg = None
        if self.checkpoint:
            init_cfg = dict(type='Pretrained', checkpoint=self.checkpoint)
        backbone = PreActivationBackbone(self.arch, init_cfg=init_cfg)
        backbone.init_weights()
        return backbone

    @property
    def settings(self) -> dict:
        """The settings that the eigenvectors depend on, besides the image, as a dict of plain
        values."""
        digest = hashlib.sha256()
        for tensor in self.backbone.state_dict().values():
            digest.update(tensor.cpu().numpy().tobytes())
        return dict(
            arch=self.backbone.arch,
            weights=digest.hexdigest()[:16],
            num_vectors=self.num_vectors,
            colour_weight=float(self.colour_weight),
            factor=self.factor,
        )

    def features(self, image: np.ndarray) -> tuple[Tensor, tuple[int, int]]:
        """Computes the features of an image.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            (h * w, C), row by row, and (h, w).
        """
        x = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))).float() / 255
        with torch.no_grad():
            found = self.backbone(((x - _MEAN) / _STD)[None])[1][-1]
        return found[0].flatten(1).T, tuple(found.shape[2:])

    def __call__(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Decomposes an image.

        Args:
            image: (H, W, 3) uint8 RGB.

        Returns:
            Eigenvalues (K,) and eigenvectors (K, h, w), float32.

        Raises:
            DataError: the image has too few positions.
        """
        grid = tuple(side // 16 * 16 // self.factor for side in image.shape[:2])
        if grid[0] * grid[1] <= 2 * self.num_vectors:
            raise DataError(
                f'an image of {image.shape[1]} x {image.shape[0]} is too small for '
                f'{self.num_vectors} eigenvectors.'
            )
        features, coarse = self.features(image)
        values, vectors = smallest_eigenvectors(
            feature_affinity(features, coarse, grid),
            colour_affinity(image, grid),
            self.colour_weight,
            self.num_vectors,
        )
        return values, vectors.reshape(-1, *grid)
