"""The data preprocessor that turns packed pairs into one normalised, padded batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmseg.models import SegDataPreProcessor
from mmseg.structures import SegDataSample
from mmseg.utils import stack_batch

from rs_mm.errors import ConfigError
from rs_mm.registry import MODELS


@MODELS.register_module(name=['ChangeDataPreprocessor', 'DualInputSegDataPreProcessor'])
class ChangeDataPreprocessor(SegDataPreProcessor):
    """A data preprocessor like mmseg's, for image pairs stacked along the channels.

    Turns BGR to RGB per date, normalises, and pads at the right and bottom after normalising.
    Unlike the original it takes batches of unequal sizes at test time, and inputs without data
    samples: it then makes samples that hold the sizes, with which a prediction is cut back.

    Args:
        mean, std: one value per channel of the pair (12 for two dates
            of 6 bands), or per channel of one date, which is then used for both. In RGB order if
            ``bgr_to_rgb``.
        size: pad to this (H, W).
        size_divisor: pad to the largest image of the batch, rounded up to a
            multiple of this.
        pad_val: padding value of the normalised images.
        seg_pad_val: padding value of the labels.
        bgr_to_rgb, rgb_to_bgr: reverse the channels of each date (three-band dates only).
        batch_augments: as in mmseg.
        test_cfg: ``size`` or ``size_divisor`` at test time. Default: images are
            padded to the largest of the batch.
    """

    def __init__(
        self,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        size: tuple[int, int] | None = None,
        size_divisor: int | None = None,
        **kwargs: Any,
    ) -> None:
        if mean is not None and (std is None or len(std) != len(mean)):
            raise ConfigError('data_preprocessor: mean and std must have the same length.')
        super().__init__(mean=mean, std=std, size=size, size_divisor=size_divisor, **kwargs)

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalises and stacks.

        Args:
            data: ``inputs``, a list of (2 * C, H, W) tensors or one (N, 2 * C, H, W) tensor,
                and ``data_samples``, a list of ``SegDataSample`` or None.
            training: pads labels together with the images, with the training sizes.

        Returns:
            ``inputs`` (N, 2 * C, H', W') float32 and ``data_samples``, whose metainfo holds
            ``padding_size`` = (left, right, top, bottom).
        """
        data = self.cast_data(data)
        inputs = [self._normalise(image) for image in data['inputs']]
        samples = data.get('data_samples')
        if samples is None:
            samples = [
                SegDataSample(
                    metainfo=dict(
                        ori_shape=tuple(image.shape[1:]), img_shape=tuple(image.shape[1:])
                    )
                )
                for image in inputs
            ]
        padding = (
            dict(size=self.size, size_divisor=self.size_divisor)
            if training
            else dict(self.test_cfg or {})
        )
        if padding.get('size') is None and padding.get('size_divisor') is None:
            padding = dict(size_divisor=1)
        padding.update(pad_val=self.pad_val, seg_pad_val=self.seg_pad_val)
        if training:
            inputs, samples = stack_batch(inputs, samples, **padding)
            if self.batch_augments is not None:
                inputs, samples = self.batch_augments(inputs, samples)
        else:
            inputs, padded = stack_batch(inputs, **padding)
            for sample, info in zip(samples, padded):
                sample.set_metainfo(
                    dict(padding_size=info['img_padding_size'], pad_shape=tuple(info['pad_shape']))
                )
        return dict(inputs=inputs, data_samples=samples)

    def _normalise(self, image):
        channels = image.shape[0]
        image = image.float()
        if self.channel_conversion and channels == 6:
            image = image[[2, 1, 0, 5, 4, 3]]
        if not self._enable_normalize:
            return image
        mean, std = self.mean, self.std
        if len(mean) * 2 == channels:
            mean, std = mean.repeat(2, 1, 1), std.repeat(2, 1, 1)
        if len(mean) != channels:
            raise ConfigError(
                f'data_preprocessor: mean and std have {len(mean)} values, but the '
                f'pair has {channels} channels ({channels // 2} per date).'
            )
        return (image - mean) / std


DualInputSegDataPreProcessor = ChangeDataPreprocessor  # its name until version 0.1
