"""Siamese encoder, decoder: mmseg's EncoderDecoder on pairs of images."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from rs_mm.errors import ConfigError, suggest
from rs_mm.registry import MODELS

from ..utils.siamese import both_dates
from .head_widths import build_head, stage_channels


@MODELS.register_module()
class SiamEncoderDecoder(EncoderDecoder):
    """A change detector: one backbone for both dates, a neck that fuses them, and a decode head.

    Args:
        backbone_inchannels: channels of one date; the input has twice as many.
        join_dates: in training, run a backbone with batch norms on both dates as one batch
            (faster; the statistics then come from both dates). False: one date after the other, as
            published. This makes no difference in evaluation or for a backbone without batch norms,
            where the dates are always one batch.
        early_fusion: the backbone sees both dates as the bands of one image, so its
            ``in_channels`` is twice ``backbone_inchannels``, and there is no neck.
        **kwargs: see :class:`mmseg.models.EncoderDecoder`. ``neck`` takes (features of date 1,
            features of date 2). ``in_channels`` of a head may be left out if the backbone states
            its channels, as :class:`TimmEncoder` and Swin do. ``test_cfg`` of ``mode='slide'`` may
            hold ``window_batch``, the largest number of windows in one forward; without it, the
            number follows from the size: as many pixels as one window of 512 on a CPU (more do not
            fit into its caches), as four such windows elsewhere. ``train_cfg`` must be empty.

    Raises:
        ConfigError: the neck is missing, or ``test_cfg`` or ``train_cfg`` has a wrong key or value.
    """

    def __init__(
        self,
        *,
        backbone_inchannels: int = 3,
        join_dates: bool = False,
        early_fusion: bool = False,
        **kwargs: Any,
    ) -> None:
        if early_fusion and kwargs.get('neck') is not None:
            raise ConfigError(
                'SiamEncoderDecoder with early_fusion=True has no `neck`: the dates are one image '
                'to the backbone; set neck=None, or early_fusion=False.'
            )
        if not early_fusion and kwargs.get('neck') is None:
            raise ConfigError(
                'SiamEncoderDecoder needs a `neck` that fuses the two dates, e.g. '
                "neck=dict(type='FeatureFusionNeck', policy='concat')."
            )
        _check_train_cfg(kwargs.get('train_cfg') or {})
        kwargs['test_cfg'] = ConfigDict(kwargs.get('test_cfg') or dict(mode='whole'))
        _check_test_cfg(kwargs['test_cfg'])
        super().__init__(**kwargs)
        self.backbone_inchannels, self.join_dates = backbone_inchannels, join_dates
        self.early_fusion = early_fusion

    def _init_decode_head(self, decode_head):
        self.decode_head = self._head(decode_head)
        self.align_corners = self.decode_head.align_corners
        self.num_classes = self.decode_head.num_classes
        self.out_channels = self.decode_head.out_channels

    def _init_auxiliary_head(self, auxiliary_head):
        if isinstance(auxiliary_head, list):
            self.auxiliary_head = nn.ModuleList(self._head(cfg) for cfg in auxiliary_head)
        elif auxiliary_head is not None:
            self.auxiliary_head = self._head(auxiliary_head)

    def _head(self, cfg):
        stages = fused = stage_channels(self.backbone)
        if stages is not None and self.with_neck:
            fuse = getattr(self.neck, 'fused_channels', None)
            fused = fuse and fuse(stages)
        return build_head(cfg, stages, fused)

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Returns the fused features of pairs (N, 2 * C, H, W), date 1 before date 2."""
        if inputs.shape[1] != 2 * self.backbone_inchannels:
            raise ConfigError(
                f'the input has {inputs.shape[1]} channels, but two dates of '
                f'backbone_inchannels={self.backbone_inchannels} make '
                f'{2 * self.backbone_inchannels}.'
            )
        if self.early_fusion:
            return self.backbone(inputs)
        return self.neck(*both_dates(self.backbone, *inputs.chunk(2, 1), join=self.join_dates))

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Returns logits with the height and width of ``inputs``."""
        # mmseg's head resizes to a torch.Size, also if the meta data have another size
        return self.decode_head.predict(
            self.extract_feat(inputs), [dict(img_shape=inputs.shape[2:])], self.test_cfg
        )

    def slide_inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Returns logits averaged over overlapping windows, with several windows per forward.

        Args:
            inputs: (N, 2 * C, H, W). A side that is shorter than the crop has one window.
            batch_img_metas: not used.

        Returns:
            (N, classes, H, W).
        """
        batch, _, height, width = inputs.shape
        crop_h, crop_w = (min(pair) for pair in zip(self.test_cfg.crop_size, (height, width)))
        corners = [
            (top, left)
            for top in _starts(height, crop_h, self.test_cfg.stride[0])
            for left in _starts(width, crop_w, self.test_cfg.stride[1])
        ]
        total = inputs.new_zeros((batch, self.out_channels, height, width))
        count = inputs.new_zeros((height, width))
        limit = self.test_cfg.get('window_batch') or _window_batch(inputs.device, crop_h * crop_w)
        per_forward = max(limit // batch, 1)
        for group in (corners[i : i + per_forward] for i in range(0, len(corners), per_forward)):
            windows = torch.cat(
                [inputs[..., top : top + crop_h, left : left + crop_w] for top, left in group]
            )
            logits = self.encode_decode(windows, batch_img_metas).split(batch)
            for (top, left), part in zip(group, logits):
                total[..., top : top + crop_h, left : left + crop_w] += part
                count[top : top + crop_h, left : left + crop_w] += 1
        return total / count

    def example_inputs(self, batch: int, height: int, width: int) -> dict:
        """Returns random pairs and labels as the data pipeline packs them, for the analysis
        tools."""
        channels = 2 * self.backbone_inchannels
        shape = dict(img_shape=(height, width), ori_shape=(height, width))
        samples = []
        for _ in range(batch):
            label = PixelData(data=torch.randint(self.num_classes, (1, height, width)))
            samples.append(SegDataSample(gt_sem_seg=label, metainfo=shape))
        pixels = torch.randint(256, (batch, channels, height, width), dtype=torch.uint8)
        return dict(inputs=list(pixels), data_samples=samples)


def _check_train_cfg(cfg):
    if cfg:
        raise ConfigError(
            f'`model.train_cfg` of SiamEncoderDecoder takes no keys, but holds '
            f'{", ".join(cfg)}; the training loop has a `train_cfg` of its own.'
        )


def _check_test_cfg(cfg):
    known = ('mode', 'crop_size', 'stride', 'window_batch')
    for key in cfg:
        if key not in known:
            raise ConfigError(
                f'`model.test_cfg` of SiamEncoderDecoder takes no key `{key}` '
                f'(it takes {", ".join(known)}){suggest(key, known)}'
            )
    mode = cfg.get('mode', 'whole')
    if mode not in ('whole', 'slide'):
        raise ConfigError(f"`model.test_cfg.mode` must be 'whole' or 'slide', not {mode!r}.")
    if cfg.get('window_batch') is not None and not _is_positive(cfg['window_batch']):
        raise ConfigError(
            '`model.test_cfg.window_batch` must be a positive integer, not '
            f'{cfg["window_batch"]!r}.'
        )
    if mode == 'slide':
        crop, stride = (_sides(key, cfg.get(key)) for key in ('crop_size', 'stride'))
        if stride[0] > crop[0] or stride[1] > crop[1]:
            raise ConfigError(
                f'`model.test_cfg.stride` {stride} is larger than `crop_size` {crop}: the windows '
                'would leave gaps; make it at most as large.'
            )


def _sides(key, value):
    pair = tuple(value) if isinstance(value, (tuple, list)) else ()
    if len(pair) != 2 or not all(map(_is_positive, pair)):
        raise ConfigError(
            f'`model.test_cfg.{key}` must be two positive integers (height, width) '
            f"for mode='slide', not {value!r}."
        )
    return pair


def _is_positive(value):
    return isinstance(value, int) and value > 0


def _window_batch(device, pixels):
    return (1 if device.type == 'cpu' else 4) * 512 * 512 // pixels


def _starts(length, crop, stride):
    """Returns the first pixels of the windows; the last window is moved back to the border."""
    if length <= crop:
        return [0]
    return [*range(0, length - crop, stride), length - crop]
