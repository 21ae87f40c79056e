"""What the picture of a pair shows."""

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from rs_mm.visualization import ChangeVisualizer
from rs_mm.visualization.change_visualizer import _WRONG_CLASS, LEGEND


def sample(**masks):
    found = SegDataSample(metainfo=dict(img_path=['data/A/tile_7.png', 'data/B/tile_7.png']))
    for key, mask in masks.items():
        found.set_data({key: PixelData(data=torch.as_tensor(mask)[None])})
    return found


def colours(picture):
    return {tuple(c) for c in np.unique(picture.reshape(-1, 3), axis=0)}


def masks():
    label, prediction = np.zeros((2, 40, 60), np.int64)
    label[5:20, 5:20] = 1
    prediction[10:30, 5:20] = 1
    return label, prediction


INPUTS = torch.full((6, 40, 60), 90, dtype=torch.uint8)


def test_errors_have_their_colours():
    label, prediction = masks()
    visualizer = ChangeVisualizer()
    picture = visualizer.draw_sample(sample(gt_sem_seg=label, pred_sem_seg=prediction), INPUTS)
    hit, alarm, miss, ignored = LEGEND.values()
    assert {hit, alarm, miss} <= colours(picture) and ignored not in colours(picture)
    right = visualizer.draw_sample(sample(gt_sem_seg=label, pred_sem_seg=label), INPUTS)
    # the legend alone shows the colours of errors
    for error in (alarm, miss):
        count = (picture == error).all(-1).sum(), (right == error).all(-1).sum()
        assert count[0] > 3 * count[1]
    label[0] = 255
    picture = visualizer.draw_sample(sample(gt_sem_seg=label, pred_sem_seg=prediction), INPUTS)
    assert ignored in colours(picture)


def test_fewer_panels_without_labels_or_prediction():
    label, prediction = masks()
    visualizer = ChangeVisualizer()
    widths = [
        visualizer.draw_sample(sample(**given), INPUTS).shape[1]
        for given in (
            dict(gt_sem_seg=label, pred_sem_seg=prediction),
            dict(pred_sem_seg=prediction),
            dict(gt_sem_seg=label),
            {},
        )
    ]
    assert widths[0] > widths[1] == widths[2] > widths[3]


def test_prediction_of_another_size_and_many_bands():
    """The pipeline may have resized the pair; 16-bit bands are stretched."""
    label, prediction = (m.repeat(2, 0).repeat(2, 1) for m in masks())
    inputs = torch.rand(8, 40, 60) * 4000
    picture = ChangeVisualizer(bands=(3, 2, 1)).draw_sample(
        sample(gt_sem_seg=label, pred_sem_seg=prediction), inputs
    )
    assert picture.dtype == np.uint8 and picture.ndim == 3


def test_name_and_raw_mask():
    _, prediction = masks()
    visualizer = ChangeVisualizer()
    found = sample(pred_sem_seg=prediction)
    assert visualizer.sample_name(found) == 'tile_7'
    mask = visualizer.raw_mask(found)
    assert mask.dtype == np.uint8 and np.array_equal(mask, prediction * 255)


def test_the_dataset_says_how_classes_look():
    """The same class looks the same in every picture and mask, whatever else is in it."""
    visualizer = ChangeVisualizer(panel_size=60)
    visualizer.dataset_meta = dict(
        classes=('unchanged', 'new', 'gone'), palette=[[0, 0, 0], [10, 200, 30], [200, 10, 30]]
    )
    label, prediction = masks()
    for mask in (prediction, prediction * 2, prediction * 0):
        np.testing.assert_array_equal(visualizer.raw_mask(sample(pred_sem_seg=mask)), mask)
    picture = visualizer.draw_sample(sample(gt_sem_seg=label * 2, pred_sem_seg=prediction), INPUTS)
    assert {(10, 200, 30), (200, 10, 30)} <= colours(picture)
    # a change that is found but of another class is no hit
    wrong = visualizer.draw_sample(sample(gt_sem_seg=label * 2, pred_sem_seg=label), INPUTS)
    right = visualizer.draw_sample(sample(gt_sem_seg=label, pred_sem_seg=label), INPUTS)
    for colour, more, less in ((_WRONG_CLASS[1], wrong, right), ((255, 255, 255), right, wrong)):
        counts = [(picture == colour).all(-1).sum() for picture in (more, less)]
        assert counts[0] > counts[1] + 100
    visualizer.dataset_meta = dict(classes=('unchanged', 'changed'))
    assert set(np.unique(visualizer.raw_mask(sample(pred_sem_seg=prediction * 0)))) == {0}
    assert set(np.unique(visualizer.raw_mask(sample(pred_sem_seg=prediction)))) == {0, 255}
