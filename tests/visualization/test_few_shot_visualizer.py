"""Sheets of few-shot episodes."""

import numpy as np
import torch

from rs_mm.structures import EpisodeDataSample
from rs_mm.visualization.few_shot_visualizer import FewShotVisualizer, overlay


def _episode(gt):
    mask = torch.zeros(3, 24, 32, dtype=torch.uint8)
    mask[:, 4:12, 6:20] = 1
    sample = EpisodeDataSample(
        support_mask=mask,
        pred_mask=mask[0].clone(),
        metainfo=dict(
            class_id=3,
            class_name='tennis court',
            query_name='a b/c',
            sample_idx=7,
            support_names=['x', 'y', 'z'],
        ),
    )
    if gt:
        sample.gt_mask = mask[0].clone()
        sample.gt_mask[4:8] = 0
        sample.ignore = torch.zeros(24, 32, dtype=torch.uint8)
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 255, (4, 3, 24, 32), np.uint8))
    return sample, dict(query=images[0], support=images[1:])


def test_sheet_with_and_without_ground_truth(monkeypatch):
    captions = []
    from rs_mm.visualization import few_shot

    draw = few_shot.draw_sheet

    def spy(rows, **kwargs):
        captions.extend(panel.caption for row in rows for panel in row)
        return draw(rows, **kwargs)

    monkeypatch.setattr(few_shot, 'draw_sheet', spy)
    visualizer = FewShotVisualizer(name='few_shot_sheets')
    for gt in (True, False):
        captions.clear()
        sample, inputs = _episode(gt)
        picture = visualizer.draw_sample(sample, inputs)
        assert picture.dtype == np.uint8 and picture.shape[2] == 3
        assert captions[:3] == ['support 1: x', 'support 2: y', 'support 3: z']
        assert ('prediction: IoU 50.0 %' in captions) == gt
        assert ('ground truth' in captions) == gt
    assert visualizer.sample_name(sample) == '00007_a_b_c_tennis_court'
    assert set(np.unique(visualizer.raw_mask(sample))) == {0, 255}


def test_overlay():
    image = np.zeros((8, 8, 3), np.uint8)
    mask = np.zeros((8, 8), bool)
    mask[2:6, 2:6] = True
    out = overlay(image, mask, (200, 0, 0), 0.5)
    assert out[2, 2].tolist() == [200, 0, 0] and out[3, 3].tolist() == [100, 0, 0]
    assert out[~mask].max() == 0
