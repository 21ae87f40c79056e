"""The data preprocessor that stacks and normalises the images of episodes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor

from rs_mm.errors import DataError
from rs_mm.registry import MODELS


@MODELS.register_module()
class FewShotDataPreprocessor(BaseDataPreprocessor):
    """Moves the images of episodes to the device, stacks and normalises them.

    Masks stay on their device; the segmentor moves all masks of a batch in one copy.

    Args:
        mean, std: per channel of RGB images in [0, 255].
    """

    def __init__(
        self,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
    ) -> None:
        super().__init__(non_blocking=True)
        self.register_buffer('mean', torch.tensor(mean).view(-1, 1, 1), persistent=False)
        self.register_buffer('std', torch.tensor(std).view(-1, 1, 1), persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepares a batch.

        Args:
            data: ``inputs`` with ``query``, a list of (3, H, W), and ``support``, a list of
                (K, 3, H, W), RGB in [0, 255]; ``data_samples``, a list or None.

        Returns:
            The same with ``query`` (B, 3, H, W) and ``support`` (B, K, 3, H, W) float32.

        Raises:
            DataError: the images of a batch differ in size, or the episodes differ in shots.
        """
        images = self.cast_data(data['inputs'])
        inputs = {name: self._normalise(group, name) for name, group in images.items()}
        return dict(inputs=inputs, data_samples=data.get('data_samples'))

    def _normalise(self, images, name):
        shapes = {tuple(image.shape) for image in images}
        if len(shapes) > 1:
            raise DataError(
                f'the {name} images of one batch have different shapes {sorted(shapes)}'
                '; resize them in the pipeline (ResizeEpisode) or use batch_size=1.'
            )
        return (torch.stack(list(images)).float() - self.mean) / self.std
