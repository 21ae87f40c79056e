"""Normalising, padding and remembering the padding of pairs."""

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from rs_mm.errors import ConfigError
from rs_mm.models.preprocessors.change_preprocessor import ChangeDataPreprocessor
from rs_mm.registry import MODELS
from tests import fill
from tests.toy_change import toy_model_config

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def preprocessor(**kwargs):
    settings = dict(
        mean=MEAN * 2, std=STD * 2, bgr_to_rgb=True, size_divisor=32, test_cfg=dict(size_divisor=32)
    )
    return ChangeDataPreprocessor(**dict(settings, **kwargs))


def pair(h, w):
    dates = [np.rint(fill.field(f'{name}{h}', (1, 3, h, w))[0] * 255) for name in 'ab']
    return torch.from_numpy(np.concatenate(dates)).to(torch.uint8)


def test_test_time_padding_of_the_published_case():
    """250 x 270 becomes 256 x 288, padded with 0 after normalising (dsqnet_swin_predict)."""
    image = pair(250, 270)
    out = preprocessor()(dict(inputs=[image], data_samples=[SegDataSample()]))
    assert out['inputs'].shape == (1, 6, 256, 288)
    assert out['data_samples'][0].padding_size == (0, 18, 0, 6)
    assert (out['inputs'][..., 250:, :] == 0).all() and (out['inputs'][..., 270:] == 0).all()
    rgb = image[[2, 1, 0, 5, 4, 3]].float()
    expected = (rgb - torch.tensor(MEAN * 2)[:, None, None]) / torch.tensor(STD * 2)[:, None, None]
    torch.testing.assert_close(out['inputs'][0, :, :250, :270], expected)


def test_unequal_batch_is_cut_back_to_each_size():
    """Predictions of a batch equal those of its images alone, labels or not."""
    model = MODELS.build(toy_model_config()).eval()
    images = [pair(50, 70), pair(64, 40)]
    alone = [model.test_step(dict(inputs=[image]))[0] for image in images]
    labelled = [
        SegDataSample(
            metainfo=dict(ori_shape=image.shape[1:], img_shape=image.shape[1:]),
            gt_sem_seg=PixelData(data=torch.zeros(1, *image.shape[1:])),
        )
        for image in images
    ]
    for samples in (None, labelled):
        together = model.test_step(dict(inputs=images, data_samples=samples))
        for image, one, other in zip(images, alone, together):
            assert one.pred_sem_seg.shape == other.pred_sem_seg.shape == image.shape[1:]
            # the rim of the toy's convolution sees other padding
            torch.testing.assert_close(
                one.seg_logits.data[:, 1:-1, 1:-1], other.seg_logits.data[:, 1:-1, 1:-1]
            )
    assert labelled[0].gt_sem_seg.shape == (50, 70)


def test_labels_are_padded_with_255_in_training():
    images = [pair(50, 70), pair(64, 40)]
    samples = [
        SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, *image.shape[1:])))
        for image in images
    ]
    out = preprocessor()(dict(inputs=images, data_samples=samples), training=True)
    assert out['inputs'].shape == (2, 6, 64, 96)
    label = out['data_samples'][0].gt_sem_seg.data
    assert (label[:, :50, :70] == 0).all() and (label[:, 50:] == 255).all()


def test_other_numbers_of_bands():
    """Six bands per date; one list of statistics serves both dates; no channel is reversed."""
    image = torch.arange(12).view(12, 1, 1).expand(12, 32, 32)
    out = preprocessor(mean=[0.0] * 6, std=[2.0] * 6)(dict(inputs=[image]))
    torch.testing.assert_close(out['inputs'][0, :, 0, 0], torch.arange(12) / 2)


def test_wrong_statistics():
    with pytest.raises(ConfigError, match='same length'):
        preprocessor(std=STD)
    with pytest.raises(ConfigError, match='6 values, but the pair has 8 channels'):
        preprocessor()(dict(inputs=[torch.zeros(8, 32, 32)]))
