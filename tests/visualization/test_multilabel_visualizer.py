import numpy as np
import torch

from rs_mm.structures import EmbeddingDataSample
from rs_mm.visualization import MultiLabelVisualizer, multilabel
from rs_mm.visualization.retrieval_sheet import to_rgb


def drawn(monkeypatch, visualizer, sample, inputs):
    """The panel that a sample becomes."""
    seen = []
    sheet = multilabel.draw_sheet
    monkeypatch.setattr(
        multilabel,
        'draw_sheet',
        lambda rows, **kwargs: seen.extend(rows[0]) or sheet(rows, **kwargs),
    )
    picture = visualizer.draw_sample(sample, inputs)
    assert picture.ndim == 3 and picture.dtype == np.uint8
    return seen[0]


def test_labels_and_predictions_are_named(monkeypatch):
    visualizer = MultiLabelVisualizer(name='multilabel test')
    visualizer.dataset_meta = dict(classes=('sea', 'sand', 'ship'))
    sample = EmbeddingDataSample(metainfo=dict(name='beach07'))
    assert visualizer.sample_name(sample) == 'beach07'
    inputs = torch.randn(3, 40, 30)
    assert drawn(monkeypatch, visualizer, sample, inputs).caption == ''
    sample.set_gt_label(torch.tensor([1.0, 1, 0]))
    sample.set_score(torch.tensor([0.2, 0.5, 0.4]))
    panel = drawn(monkeypatch, visualizer, sample, inputs)
    assert panel.caption == 'sea, sand\npredicted: sand'


def test_sentinel_bands_are_shown_in_true_colour(monkeypatch):
    names = ('B02', 'B03', 'B04', 'B08')
    sample = EmbeddingDataSample(metainfo=dict(name='p', band_names=names))
    inputs = torch.randn(4, 20, 20)
    image = inputs.permute(1, 2, 0).numpy()
    shown = drawn(monkeypatch, MultiLabelVisualizer(name='bands test'), sample, inputs).image
    assert np.array_equal(shown, to_rgb(image, (2, 1, 0)))
    plain = EmbeddingDataSample(metainfo=dict(name='p'))
    shown = drawn(monkeypatch, MultiLabelVisualizer(name='plain test'), plain, inputs).image
    assert np.array_equal(shown, to_rgb(image, (0, 1, 2)))
