"""The data preprocessor that stacks and normalises images with any number of bands."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor

from rs_mm.errors import ConfigError, DataError
from rs_mm.registry import MODELS


@MODELS.register_module(name=['EmbeddingDataPreprocessor', 'EmbeddingDataPreProcessor'])
class EmbeddingDataPreprocessor(BaseDataPreprocessor):
    """Collated batch -> float images (N, C, H, W) on the model's device.

    The samples stay on their device: their labels are small, and a loss moves all labels of a batch
    in one copy.

    Args:
        mean: one value per band; None: no shift.
        std: one value per band; None: no scaling.
        non_blocking: copies pinned images to the device without waiting.

    Raises:
        DataError: the images of a batch differ in shape.
        ConfigError: the length of ``mean`` or ``std`` is not the number of bands.
    """

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        non_blocking: bool = True,
    ) -> None:
        super().__init__(non_blocking)
        for key, values in (('mean', mean), ('std', std)):
            value = None if values is None else torch.tensor(values).float().view(-1, 1, 1)
            self.register_buffer(key, value, persistent=False)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Images (N, C, H, W), or a list of N, to float32 (N, C, H, W); samples pass through."""
        images = self._stack(self.cast_data(data['inputs'])).float()
        if self.mean is not None:
            images = images - self._checked('mean', images)
        if self.std is not None:
            images = images / self._checked('std', images)
        return dict(inputs=images, data_samples=data.get('data_samples'))

    @staticmethod
    def _stack(images) -> torch.Tensor:
        if torch.is_tensor(images):
            return images
        shapes = {tuple(image.shape) for image in images}
        if len(shapes) > 1:
            raise DataError(
                f'images of one batch differ in shape: {sorted(shapes)}; add a resize '
                'to the pipeline or test with batch_size=1.'
            )
        return torch.stack(list(images))

    def _checked(self, key, images):
        values = getattr(self, key)
        if len(values) != images.shape[1]:
            raise ConfigError(
                f'data_preprocessor.{key} has {len(values)} values, but the images '
                f'have {images.shape[1]} bands; give one value per band.'
            )
        return values


EmbeddingDataPreProcessor = EmbeddingDataPreprocessor  # its name until version 0.1
