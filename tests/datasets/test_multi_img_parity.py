"""Every pair transform against the recorded results of the original."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image

from rs_mm.models.preprocessors.change_preprocessor import ChangeDataPreprocessor
from rs_mm.registry import TRANSFORMS
from tests import fill
from tests.parity import load_case

MANIFEST, ARRAYS = load_case('dsqnet', 'dsqnet_transforms')
CASES = MANIFEST['transforms']
GEOMETRIC = ('rotate', 'rotflip')
MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def pair():
    images = [
        np.rint(fill.field(name, (1, 3, 64, 96))[0].transpose(1, 2, 0) * 255).astype(np.uint8)
        for name in ('dsq_tr_a', 'dsq_tr_b')
    ]
    label = fill.blob_mask('dsq_tr_gt', (1, 64, 96))[0].astype(np.uint8)
    return dict(
        img=images,
        gt_seg_map=label,
        seg_fields=['gt_seg_map'],
        img_shape=(64, 96),
        ori_shape=(64, 96),
        img_path=['a.png', 'b.png'],
    )


def build(case):
    arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in case['arguments'].items()}
    return TRANSFORMS.build(dict(type=case['transform'], **arguments))


def run(name):
    results = pair()
    if 'numpy_seed' in CASES[name]:
        np.random.seed(CASES[name]['numpy_seed'])
    return build(CASES[name])(results)


def check_image(name, found, expected):
    difference = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    if expected.dtype == np.float32:
        assert difference.max() < 1e-3
    elif any(word in name for word in ('photometric', 'gamma', 'clahe')):
        assert (difference <= 1).mean() >= 0.99
    elif any(word in name for word in ('resize', 'rot')):
        assert difference.mean() < 1
    else:
        assert difference.max() == 0


def golden_names():
    return [name for name in CASES if name not in ('pack', 'preprocess_train')]


@pytest.mark.parametrize('name', golden_names())
def test_golden(name):
    case = CASES[name]
    results = run(name)
    for i, image in enumerate(results['img']):
        key = f'{name}/date{i + 1}'
        if key in ARRAYS:
            stored = MANIFEST['outputs'][key]['stored']
            found = image[::4, ::4] if stored.startswith('subsample') else image
            assert found.shape == ARRAYS[key].shape
            check_image(name, found, ARRAYS[key])
    if f'{name}/label' in ARRAYS:
        expected = ARRAYS[f'{name}/label']
        assert results['gt_seg_map'].shape == expected.shape
        wrong = (results['gt_seg_map'] != expected).mean()
        assert wrong <= (0.01 if 'rot' in name else 0)
    for key in ('img_shape', 'pad_shape', 'scale', 'scale_factor'):
        if key in case:
            assert results[key] == pytest.approx(tuple(case[key]))
    for key in ('flip', 'flip_direction', 'keep_ratio'):
        if key in case:
            assert results[key] == case[key]
    if 'exchanged' in case:
        assert np.array_equal(results['img'][0], pair()['img'][case['exchanged']])
    if 'next_random_after' in case:
        assert np.random.random() == case['next_random_after']


@pytest.mark.parametrize(
    'name, method, draws',
    [
        ('brightness_plus_7.3', 'brightness', dict(uniform=7.3)),
        ('contrast_1.13', 'contrast', dict(uniform=1.13)),
        ('saturation_0.87', 'saturation', dict(uniform=0.87)),
        ('hue_plus_7', 'hue', dict(randint=7)),
    ],
)
def test_photometric_steps(monkeypatch, name, method, draws):
    values = iter([1, draws.get('randint')])
    monkeypatch.setattr(np.random, 'randint', lambda *args: next(values))
    monkeypatch.setattr(np.random, 'uniform', lambda *args: draws['uniform'])
    step = getattr(TRANSFORMS.build(dict(type='MultiImgPhotoMetricDistortion')), method)
    expected = ARRAYS[f'photometric_{name}/date1']
    check_image('photometric', step(pair()['img'][0]), expected)


def load_label(path, image, **kwargs):
    image.save(path)
    results = dict(seg_map_path=str(path), seg_fields=[], **kwargs)
    return TRANSFORMS.build(dict(type='MultiImgLoadAnnotations'))(results)['gt_seg_map']


def test_load_annotations(tmp_path):
    grey = np.rint(fill.uniform('dsq_tr_label', (64, 96)) * 255).astype(np.uint8)
    blob = pair()['gt_seg_map']
    red = np.stack([blob * 255, blob * 0, blob * 0], 2)
    found = {
        'to_binary': load_label(
            tmp_path / 'a.png', Image.fromarray(grey), format_seg_map='to_binary'
        ),
        'raw': load_label(tmp_path / 'b.png', Image.fromarray(grey))[::4, ::4],
        '1bit': load_label(
            tmp_path / 'c.png', Image.fromarray(blob * 255).convert('1'), format_seg_map='to_binary'
        ),
        'red_raw': load_label(tmp_path / 'd.png', Image.fromarray(red)),
        'red': load_label(tmp_path / 'e.png', Image.fromarray(red), format_seg_map='to_binary'),
    }
    for name, label in found.items():
        assert label.dtype == np.uint8
        np.testing.assert_array_equal(label, ARRAYS[f'load_annotations_{name}'], err_msg=name)


def test_load_pack_and_preprocess(tmp_path):
    source = pair()
    paths = [str(tmp_path / 'a.png'), str(tmp_path / 'b.png')]
    for path, image in zip(paths, source['img']):
        cv2.imwrite(path, image)
    results = TRANSFORMS.build(dict(type='MultiImgLoadImageFromFile'))(dict(img_path=paths))
    assert results['img_shape'] == results['ori_shape'] == (64, 96)
    results.update(
        gt_seg_map=np.ones((64, 96), np.uint8), seg_map_path='x', scale_factor=1.0, flip=False
    )
    packed = TRANSFORMS.build(dict(type='MultiImgPackSegInputs'))(results)
    inputs, sample = packed['inputs'], packed['data_samples']
    assert inputs.dtype == torch.uint8
    np.testing.assert_array_equal(inputs[:, ::4, ::4], ARRAYS['pack_inputs'])
    assert sample.gt_sem_seg.data.dtype == torch.int64
    assert sample.gt_sem_seg.data.shape == (1, 64, 96)
    assert sorted(sample.metainfo) == CASES['pack']['meta_keys_found']

    part = SegDataSample(gt_sem_seg=PixelData(data=torch.ones(1, 50, 70, dtype=torch.int64)))
    preprocessor = ChangeDataPreprocessor(
        mean=MEAN * 2, std=STD * 2, bgr_to_rgb=True, size_divisor=32, pad_val=0, seg_pad_val=255
    )
    batch = preprocessor(
        dict(inputs=[inputs, inputs[:, :50, :70]], data_samples=[sample, part]), training=True
    )
    np.testing.assert_allclose(
        batch['inputs'][:, :, ::4, ::4], ARRAYS['preprocess_train'], atol=1e-5
    )
    labels = torch.stack([s.gt_sem_seg.data for s in batch['data_samples']])
    np.testing.assert_array_equal(labels[:, :, ::4, ::4], ARRAYS['preprocess_train_label'])
    padding = [list(s.padding_size) for s in batch['data_samples']]
    assert padding == CASES['preprocess_train']['padding_left_right_top_bottom']
