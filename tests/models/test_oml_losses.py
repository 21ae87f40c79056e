"""Metric losses equal the original OML code, in value, gradient and over training steps."""

import os

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

from rs_mm.converters.oml import convert_names, published_encoder
from rs_mm.models.heads import HeadOutput
from rs_mm.models.losses.global_batch import gather_batch
from rs_mm.models.losses.triplet_hard import jaccard_mining
from rs_mm.registry import MODELS
from rs_mm.retrieval import jaccard_distance
from rs_mm.structures import EmbeddingDataSample
from tests import fill
from tests.parity import fill_state, load_case

METRIC = {
    'oml': 'OMLLoss',
    'contrastive': 'ContrastiveAverageLoss',
    'triplet': 'TripletAverageLoss',
    'contrastive_avg': 'ContrastiveAverageLoss',
    'triplet_avg': 'TripletAverageLoss',
    'ml_xent': 'MultiLabelBCELoss',
}


def build(kind, **options):
    return MODELS.build(dict(type=METRIC[kind], **options))


def value_and_gradient(loss, embedding, labels):
    embedding = torch.from_numpy(embedding).requires_grad_()
    value = loss(embedding, None, torch.as_tensor(labels).float())
    value.backward()
    return value.detach().numpy(), embedding.grad.numpy()


def loss_cases():
    for suffix in ('', '_iid'):
        for a in (0.01, 0.1):
            yield f'oml_a{a}{suffix}', suffix, 'oml', dict(temperature=a)
        for kind in ('contrastive', 'triplet'):
            for m in (1.2, 0.4):
                for t in (0.5, 0.3):
                    yield (f'{kind}_m{m}_t{t}{suffix}', suffix, kind, dict(margin=m, threshold=t))


@pytest.mark.parametrize('name, suffix, kind, options', loss_cases())
def test_loss(name, suffix, kind, options):
    _, expected = load_case('oml', 'losses')
    labels = expected[f'labels{suffix}']
    embedding = fill.normal('oml/loss/emb', (24, 64))
    value, gradient = value_and_gradient(build(kind, **options), embedding, labels)
    if f'{name}_error' in expected:  # the original raises: there is no positive
        assert value == 0 and not gradient.any()
        return
    np.testing.assert_allclose(value, expected[f'{name}_loss'], 1e-5, 1e-6)
    np.testing.assert_allclose(gradient, expected[f'{name}_grad'], 2e-3, 1e-5)


@pytest.mark.parametrize('kind', ['oml', 'contrastive', 'triplet'])
@pytest.mark.parametrize('labels', ['one_class', 'no_class', 'identical', 'two_groups'])
def test_degenerate_labels(labels, kind):
    _, expected = load_case('oml', 'losses')
    embedding = fill.normal('oml/loss/emb', (24, 64))[:8]
    name = f'deg_{labels}_{kind}'
    value, gradient = value_and_gradient(build(kind), embedding, expected[f'deg_{labels}_labels'])
    if labels == 'no_class':  # NaN or an exception in the original
        assert value == 0 and not gradient.any()
        return
    np.testing.assert_allclose(value, expected[f'{name}_loss'], 1e-5, 1e-6)
    np.testing.assert_allclose(gradient, expected[f'{name}_grad'], 2e-3, 1e-5)


def test_jaccard_distance():
    _, expected = load_case('oml', 'losses')
    for suffix in ('', '_iid'):
        labels = torch.from_numpy(expected[f'labels{suffix}'])
        assert np.array_equal(jaccard_distance(labels, labels), expected[f'jaccard{suffix}'])


def test_oml_options():
    labels = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]])
    embedding = torch.tensor([[1.0, 0], [1, 0.01], [0, 1], [0.01, 1]])
    # perfectly ordered: the intended normalisation reaches 0, the published one 1 - |P| / B
    assert build('oml', normalizer='class')(embedding, None, labels) == pytest.approx(0, abs=1e-3)
    assert build('oml')(embedding, None, labels) == pytest.approx(0.5, abs=1e-3)
    half = build('oml')(embedding, None, torch.cat([labels, torch.full((4, 1), 0.5)], 1))
    assert half == pytest.approx(0.5, abs=1e-3)  # a label counts only where it is 1
    generator = torch.Generator().manual_seed(0)
    embedding, labels = torch.randn(30, 8, generator=generator), torch.rand(30, 5) < 0.4
    runs = [
        value_and_gradient(build('oml', chunk_size=chunk), embedding.numpy(), labels)
        for chunk in (30, 7, 1)
    ]
    for value, gradient in runs[1:]:
        np.testing.assert_allclose(value, runs[0][0], 1e-5)
        np.testing.assert_allclose(gradient, runs[0][1], 1e-3, 1e-6)


def test_oml_gradient_is_that_of_its_value():
    labels = (torch.rand(7, 4, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    embedding = torch.randn(7, 5, generator=torch.Generator().manual_seed(2))
    loss = build('oml', temperature=0.5)
    _, gradient = value_and_gradient(loss, embedding.numpy(), labels)
    step = 1e-2
    for i, j in ((0, 0), (3, 2), (6, 4)):
        shift = torch.zeros_like(embedding)
        shift[i, j] = step
        slope = loss(embedding + shift, None, labels) - loss(embedding - shift, None, labels)
        assert float(slope) / (2 * step) == pytest.approx(float(gradient[i, j]), rel=0.02, abs=1e-4)


def test_mining_and_triplet_hard():
    _, expected = load_case('oml', 'mining')
    labels = torch.from_numpy(expected['labels'])
    near = (jaccard_distance(labels, labels) <= 0.5).numpy()
    assert np.array_equal(near, expected['pos_candidates'])
    np.random.seed(0)
    anchors, positive, negative = jaccard_mining(labels, 0.5)
    assert anchors.tolist() == list(range(24))
    assert np.array_equal(positive, expected['pos_pick'])
    assert np.array_equal(negative, expected['neg_pick'])
    np.random.seed(0)
    loss = MODELS.build(dict(type='TripletHardLoss'))
    value, gradient = value_and_gradient(loss, fill.normal('oml/loss/emb', (24, 64)), labels)
    np.testing.assert_allclose(value, expected['triplet_hard_loss'], 1e-5)
    np.testing.assert_allclose(gradient, expected['triplet_hard_grad'], 1e-5, 1e-6)
    given = [
        torch.from_numpy(fill.normal(f'oml/loss/{n}', (24, 64))).requires_grad_()
        for n in ('ta', 'tp', 'tn')
    ]
    value = MODELS.build(dict(type='TripletHardLoss', margin=0.7)).compare(*given)
    value.backward()
    np.testing.assert_allclose(value.detach(), expected['given_loss'], 1e-5)
    for x, name in zip(given, 'apn'):
        np.testing.assert_allclose(x.grad, expected[f'given_grad_{name}'], 1e-5, 1e-6)


def test_triplet_hard_without_negatives():
    loss = MODELS.build(dict(type='TripletHardLoss', margin=None))
    embedding = torch.randn(4, 3, requires_grad=True)
    loss(embedding, None, torch.ones(4, 2)).backward()
    assert not embedding.grad.any()
    labels = torch.tensor([[1.0, 0], [1, 0], [1, 0], [0, 1]])
    assert loss(embedding, None, labels) > 0


@pytest.mark.parametrize('branches', ['single', 'parts'])
@pytest.mark.parametrize(
    'classify, metric',
    [
        (c, m)
        for c in (None, 'ml_xent')
        for m in (None, 'oml', 'contrastive_avg', 'triplet_avg')
        if c or m
    ],
)
def test_combination(classify, metric, branches):
    _, expected = load_case('oml', 'loss_factory')
    config = dict(
        type='ImageEmbedder',
        encoder=dict(type='TimmEncoder', model='resnet18'),
        head=dict(type='EmbeddingHead', num_classes=17),
        losses=[],
    )
    for kind, weight in ((classify, 0.7), (metric, 1.3)):
        if kind:
            config['losses'].append(dict(type=METRIC[kind], loss_weight=weight))
    model = MODELS.build(config)

    def branch(name):
        return tuple(
            torch.from_numpy(fill.normal(f'oml/loss/f_{name}{kind}', (24, size)))
            for kind, size in (('emb', 64), ('logits', 17))
        )

    output = HeadOutput.single(*branch(''))
    if branches == 'parts':
        groups = (
            tuple(branch(f'loc{i}_') for i in range(5)),
            tuple(branch(f'glo{i}_') for i in range(2)),
        )
        output = HeadOutput(torch.zeros(24, 1), None, groups)
    samples = [
        EmbeddingDataSample(gt_label=row) for row in torch.from_numpy(expected['labels']).float()
    ]
    losses = model.loss(output, samples)
    total, id_term, metric_term = expected[f'{branches}_{classify}_{metric}']
    assert float(sum(losses.values())) == pytest.approx(total, rel=2e-5)
    if classify:
        assert float(losses['loss_bce']) == pytest.approx(0.7 * id_term, rel=2e-5)


@pytest.mark.parametrize('name', ['oml', 'contrastive'])
def test_training_steps(name):
    manifest, expected = load_case('oml', f'train_{name}')
    model = MODELS.build(
        dict(
            type='ImageEmbedder',
            encoder=published_encoder('resnet18'),
            head=dict(type='EmbeddingHead', num_classes=17),
            losses=[dict(type=METRIC[name])],
        )
    )
    converted, _ = convert_names(fill_state(manifest['parameters']['model']))
    model.load_state_dict(converted)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    labels = torch.from_numpy(expected['labels']).float()
    for step in range(4):
        images = torch.from_numpy(fill.normal(f'oml/train/img{step}', (12, 3, 64, 64)))
        rows = labels[:12] if step % 2 == 0 else labels[12:]
        samples = [EmbeddingDataSample(gt_label=row) for row in rows]
        for group in optimizer.param_groups:
            group['lr'] = 1e-4 * np.exp(-0.01) ** (step // 2)
        assert optimizer.param_groups[0]['lr'] == pytest.approx(expected['lr'][step])
        model.train()
        loss = sum(model(images, samples, mode='loss').values())
        assert float(loss) == pytest.approx(expected['losses'][step, 0], rel=2e-3, abs=1e-4)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        images = torch.from_numpy(fill.normal('oml/train/img0', (12, 3, 64, 64)))
        after = model(images)['embedding'].numpy()
    assert np.abs(after - expected['after']).max() <= 0.02 * np.abs(expected['after']).max()


LOSSES = [
    'OMLLoss',
    'ContrastiveAverageLoss',
    'TripletAverageLoss',
    'TripletHardLoss',
    'MultiLabelBCELoss',
]


def _gradients(rank=None, world=1):
    """Gradients of a linear embedder; with ``world`` processes each has its share of the batch."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(12, 6, generator=generator)
    labels = (torch.rand(12, 4, generator=generator) < 0.4).float()
    result = {}
    for name in LOSSES:
        torch.manual_seed(1)
        layer = torch.nn.Linear(6, 4)
        model = layer
        if world > 1:
            model = torch.nn.parallel.DistributedDataParallel(layer)
            size = 12 // world
            rows = slice(rank * size, (rank + 1) * size)
        else:
            rows = slice(None)
        np.random.seed(5 + (rank or 0))
        embedding = model(images[rows])
        MODELS.build(dict(type=name))(embedding, embedding, labels[rows]).backward()
        result[name] = layer.weight.grad.clone()
    return result


def _unequal_shares(rank):
    """Rows held in shares of 2 and 3, weighed by 1 and 2."""
    rows = torch.arange(10.0).view(5, 2)[slice(0, 2) if rank == 0 else slice(2, 5)]
    rows.requires_grad_()
    (gathered,) = gather_batch(rows)
    ((rank + 1) * gathered).sum().backward()
    return dict(all=gathered.detach(), grad=rows.grad)


def _worker(rank, port, folder):
    os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=str(port))
    torch.distributed.init_process_group('gloo', rank=rank, world_size=2)
    result = dict(gradients=_gradients(rank, 2), shares=_unequal_shares(rank))
    torch.save(result, f'{folder}/{rank}.pth')
    torch.distributed.destroy_process_group()


def test_two_processes_equal_one(tmp_path):
    mp.spawn(_worker, (20000 + os.getpid() % 20000, str(tmp_path)), nprocs=2)
    expected = _gradients()
    for rank in range(2):
        found = torch.load(tmp_path / f'{rank}.pth', weights_only=True)
        for name in LOSSES:
            assert expected[name].abs().max() > 0
            torch.testing.assert_close(
                found['gradients'][name], expected[name], rtol=1e-4, atol=1e-6
            )
        shares = found['shares']
        assert torch.equal(shares['all'], torch.arange(10.0).view(5, 2))
        # gradients of both processes add up
        assert shares['grad'].shape == (2 + rank, 2) and (shares['grad'] == 3).all()
