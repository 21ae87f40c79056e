"""A training step must not make the host wait for the device: on a GPU each wait leaves a gap.

Seen here without a GPU: reading a tensor's value, and shapes that depend on values.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from rs_mm.registry import MODELS

aten = torch.ops.aten
READS = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.masked_select.default,
    aten.equal.default,
}


class Waits(TorchDispatchMode):
    """Lists what a GPU would have to be waited for."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        masks = function is aten.index.Tensor and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if function in READS or masks:
            self.found.append(str(function))
        return function(*args, **(kwargs or {}))


def embedder(*losses):
    return MODELS.build(
        dict(
            type='ImageEmbedder',
            encoder=dict(type='TimmEncoder', model='test_resnet'),
            head=dict(type='EmbeddingHead', num_classes=5),
            losses=list(losses),
        )
    )


@pytest.mark.parametrize(
    'losses',
    [
        ['OMLLoss', 'MultiLabelBCELoss'],
        ['PairContrastiveLoss', 'SquaredTripletLoss'],
        ['PairHingeLoss', 'WARPLoss'],
    ],
)
def test_embedders(losses):
    model = embedder(*[dict(type=loss) for loss in losses]).train()
    batch = model.data_preprocessor(model.example_inputs(6, 32, 32), True)
    with Waits() as waits:
        loss, _ = model.parse_losses(model(**batch, mode='loss'))
        loss.backward()
    assert waits.found == []


def test_what_the_mode_sees():
    x = torch.arange(3.0)
    with Waits() as waits:
        bool(x.sum() > 0), x[x > 1], x.nonzero()
    assert len(waits.found) == 3


def test_samples_are_not_moved_one_by_one(monkeypatch):
    """Labels and masks go to the device in one copy a batch, not in several per sample."""
    from rs_mm.structures import EmbeddingDataSample, EpisodeDataSample

    for kind in (EmbeddingDataSample, EpisodeDataSample):
        monkeypatch.setattr(kind, 'to', lambda *_: pytest.fail('a sample was moved'))
    model = embedder(dict(type='OMLLoss'))
    model.data_preprocessor(model.example_inputs(2, 32, 32), True)
    preprocessor = MODELS.build(dict(type='FewShotDataPreprocessor'))
    sample = EpisodeDataSample(support_mask=torch.ones(1, 8, 8))
    image = torch.zeros(3, 8, 8)
    out = preprocessor(
        dict(inputs=dict(query=[image], support=[image[None]]), data_samples=[sample])
    )
    assert out['data_samples'] == [sample]
