"""A change detector of one convolution, for tests of what surrounds real ones."""

import torch
from mmseg.models.segmentors import BaseSegmentor
from torch import nn
from torch.nn import functional as F

from rs_mm.registry import MODELS


@MODELS.register_module()
class ToyChangeModel(BaseSegmentor):
    """Classes from a 3 x 3 convolution of the absolute difference of the dates."""

    align_corners = False

    def __init__(self, data_preprocessor=None, init_cfg=None):
        super().__init__(data_preprocessor, init_cfg)
        self.conv = nn.Conv2d(3, 2, 3, padding=1)

    def extract_feat(self, inputs):
        return (inputs[:, :3] - inputs[:, 3:]).abs()

    def encode_decode(self, inputs, batch_img_metas=None):
        return self.conv(self.extract_feat(inputs))

    def _forward(self, inputs, data_samples=None):
        return self.encode_decode(inputs)

    def loss(self, inputs, data_samples):
        labels = torch.cat([sample.gt_sem_seg.data for sample in data_samples])
        return dict(loss=F.cross_entropy(self.encode_decode(inputs), labels, ignore_index=255))

    def predict(self, inputs, data_samples=None):
        return self.postprocess_result(self.encode_decode(inputs), data_samples)


def toy_model_config():
    """A config of :class:`ToyChangeModel` with the preprocessor of the real models."""
    return dict(
        type='rs_mm.ToyChangeModel',
        data_preprocessor=dict(
            type='rs_mm.ChangeDataPreprocessor',
            mean=[123.675, 116.28, 103.53] * 2,
            std=[58.395, 57.12, 57.375] * 2,
            bgr_to_rgb=True,
            size_divisor=32,
            test_cfg=dict(size_divisor=32),
        ),
    )
