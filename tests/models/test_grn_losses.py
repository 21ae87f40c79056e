"""SNDL and the losses it is compared with equal the original's, and are safe at the edges."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rs_mm.errors import ConfigError, DataError
from rs_mm.models.losses import label_ranking, squared_pairs
from rs_mm.models.losses.sndl import sndl_loss
from rs_mm.registry import MODELS
from tests import fill
from tests.parity import load_case

SNDL = [
    f'm{margin}{labels}{memory}'
    for margin in ('0.0', '0.2')
    for labels in ('', '_iid')
    for memory in ('', '_initmem')
]


def tensor(name, shape, kind=fill.normal):
    return torch.from_numpy(kind(name, shape))


def sndl_case(name, recorded):
    margin = float(name[1:4])
    labels = torch.from_numpy(recorded['labels_iid' if 'iid' in name else 'labels'])
    memory = F.normalize(tensor('grn/sndl/mem', [50, 16]))
    if 'initmem' in name:
        bound = 1 / np.sqrt(16 / 3)
        memory = 2 * bound * tensor('grn/sndl/mem_u', [50, 16], fill.uniform) - bound
    raw = tensor('grn/sndl/feat', [12, 16]).requires_grad_()
    return raw, torch.from_numpy(recorded['index']), memory, labels, 0.05, margin


@pytest.mark.parametrize('chunks', [dict(), dict(chunk_size=7), dict(max_similarities=120)])
@pytest.mark.parametrize('name', SNDL)
def test_sndl_equals_the_original(name, chunks):
    _, recorded = load_case('grn', 'sndl')
    raw, *rest = sndl_case(name, recorded)
    features = F.normalize(raw)
    features.retain_grad()
    loss = sndl_loss(features, *rest, **chunks)
    loss.backward()
    np.testing.assert_allclose(loss.item(), recorded[f'{name}_loss'], rtol=1e-5)
    for ours, key in ((features.grad, 'grad_feat'), (raw.grad, 'grad_raw')):
        theirs = recorded[f'{name}_{key}']
        np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', SNDL)
def test_memory_after_sndl_equals_the_original(name):
    _, recorded = load_case('grn', 'sndl')
    raw, index, memory, labels, temperature, margin = sndl_case(name, recorded)
    loss = sndl_module(labels, memory, temperature=temperature, margin=margin)
    loss(raw, None, None, index)
    np.testing.assert_allclose(
        loss.memory.features[index], recorded[f'{name}_memory_after'], rtol=1e-5, atol=1e-6
    )


def sndl_module(labels, memory, **settings):
    bank = dict(
        type='FeatureBank', size=len(memory), dim=memory.shape[1], num_classes=labels.shape[1]
    )
    loss = MODELS.build(dict(type='SNDLoss', memory=bank, **settings))
    loss.memory.features.copy_(memory)
    loss.memory.set_labels(labels)
    return loss


def direct_sndl(features, index, memory, labels, temperature, margin=0.0):
    """The definition, in float64 and with every matrix in full."""
    features, memory, labels = features.double(), memory.double(), labels.double()
    logits = features @ memory.t() / temperature
    agreement = (labels[index][:, None] == labels[None]).double().mean(2)
    own = F.one_hot(index, len(memory)).bool()
    logits = logits.masked_fill(own, -torch.inf)
    alike = (logits + agreement.log()).logsumexp(1)
    unlike = (logits + (1 - agreement).log()).logsumexp(1)
    loss = F.softplus(unlike - alike + margin / temperature)
    return loss[alike.isfinite()].sum() / len(features)


@pytest.mark.parametrize('temperature', [1e-4, 1e-3, 0.05, 1.0, 50.0])
@pytest.mark.parametrize('margin', [0.0, 0.3])
def test_sndl_is_stable_for_any_temperature(temperature, margin):
    torch.manual_seed(3)
    memory, raw = F.normalize(torch.randn(40, 8)), torch.randn(6, 8)
    labels, index = torch.rand(40, 5) < 0.4, torch.randperm(40)[:6]
    ours, theirs = raw.clone().requires_grad_(), raw.clone().requires_grad_()
    loss = sndl_loss(F.normalize(ours), index, memory, labels, temperature, margin, chunk_size=9)
    expected = direct_sndl(F.normalize(theirs), index, memory, labels, temperature, margin)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss.double(), expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-3, atol=1e-4 / temperature)


def test_sndl_with_labels_all_zero_or_never_shared():
    memory, features = F.normalize(torch.randn(4, 8)), F.normalize(torch.randn(2, 8))
    features.requires_grad_()
    index = torch.tensor([0, 1])
    # all rows without label agree in everything: nothing to tell apart, nothing to learn
    loss = sndl_loss(features, index, memory, torch.zeros(4, 3))
    loss.backward()
    assert loss.item() < 1e-20 and features.grad.abs().max() < 1e-20
    # item 0 agrees with no other row in any label: left out, but counted in the batch size
    labels = torch.tensor([[1, 1], [0, 0], [0, 0], [0, 0]])
    features.grad = None
    loss = sndl_loss(features, index, memory, labels)
    loss.backward()
    alone = sndl_loss(features[1:], index[1:], memory, labels)
    torch.testing.assert_close(loss, alone / 2)
    assert features.grad[0].abs().max() == 0 and features.grad.isfinite().all()


def test_sndl_with_a_memory_of_one_row():
    features = F.normalize(torch.randn(1, 4)).requires_grad_()
    loss = sndl_loss(features, torch.tensor([0]), F.normalize(torch.randn(1, 4)), torch.ones(1, 2))
    loss.backward()
    assert loss.item() == 0 and features.grad.abs().max() == 0


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_sndl_in_half_precision_is_close(dtype):
    torch.manual_seed(0)
    memory, raw = F.normalize(torch.randn(300, 32)), F.normalize(torch.randn(16, 32))
    labels, index = torch.rand(300, 9) < 0.3, torch.randperm(300)[:16]
    grads, losses = [], []
    for kind in (torch.float32, dtype):
        features = raw.clone().requires_grad_()
        losses.append(sndl_loss(features, index, memory, labels, dtype=kind))
        losses[-1].backward()
        grads.append(features.grad)
    torch.testing.assert_close(losses[1], losses[0], rtol=0.02, atol=0.02)
    assert F.cosine_similarity(*[grad.flatten() for grad in grads], dim=0) > 0.99


def test_sndl_under_autocast_keeps_its_precision():
    torch.manual_seed(0)
    memory, features = F.normalize(torch.randn(50, 16)), F.normalize(torch.randn(8, 16))
    labels, index = torch.rand(50, 5) < 0.4, torch.arange(8)
    plain = sndl_loss(features, index, memory, labels)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        mixed = sndl_loss(features, index, memory, labels)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, plain)


def test_the_module_updates_its_memory_in_training_only():
    labels = torch.eye(4)
    loss = sndl_module(labels, torch.randn(4, 3))
    before = loss.memory.features.clone()
    raw, index = torch.randn(2, 3, requires_grad=True), torch.tensor([2, 0])
    with torch.no_grad():
        loss(raw, None, None, index)
    loss.eval()
    loss(raw, None, None, index)
    assert torch.equal(loss.memory.features, before)
    loss.train()
    value = loss(raw, None, None, index)
    after = loss.memory.features.clone()
    assert torch.equal(after[[1, 3]], before[[1, 3]])
    torch.testing.assert_close(
        after[index], F.normalize(before[index] * 0.5 + 0.5 * F.normalize(raw.detach()))
    )
    # the gradient belongs to the memory before the update
    value.backward()
    check = raw.detach().clone().requires_grad_()
    sndl_loss(F.normalize(check), index, before, labels).backward()
    torch.testing.assert_close(raw.grad, check.grad)


def test_the_module_names_what_is_wrong():
    loss = sndl_module(torch.eye(4), torch.randn(4, 3))
    with pytest.raises(DataError, match='sample index 4 lies outside the memory of 4 rows'):
        loss(torch.randn(1, 3), None, None, torch.tensor([4]))
    with pytest.raises(DataError, match='sample index -1 lies outside'):
        loss(torch.randn(1, 3), None, None, torch.tensor([-1]))
    with pytest.raises(ConfigError, match='embedding has 5 dimensions, the memory 3'):
        loss(torch.randn(1, 5), None, None, torch.tensor([0]))
    loss.memory.labelled.fill_(False)
    with pytest.raises(ConfigError, match='FeatureBankHook'):
        loss(torch.randn(1, 3), None, None, torch.tensor([0]))
    with pytest.raises(ConfigError, match='`temperature` must be positive'):
        MODELS.build(dict(type='SNDLoss', memory=dict(), temperature=0))
    with pytest.raises(ConfigError, match="`dtype` must be one of .* not 'half'"):
        MODELS.build(dict(type='SNDLoss', memory=dict(), dtype='half'))


def squared(a, b):
    return (a - b).square().sum(1)


def check(name, value, inputs, recorded):
    np.testing.assert_allclose(value.item(), recorded[name], rtol=1e-4, atol=1e-6)
    for i, grad in enumerate(torch.autograd.grad(value, inputs)):
        np.testing.assert_allclose(grad, recorded[f'{name}_grad{i}'], rtol=1e-4, atol=1e-6)


def test_comparison_losses_equal_the_original():
    _, recorded = load_case('grn', 'other_losses')
    a, b, c = inputs = [tensor(f'grn/loss/{name}', [12, 16]).requires_grad_() for name in 'abc']
    same = (tensor('grn/loss/t', [12], fill.uniform) < 0.5).float()
    labels = tensor('grn/loss/oh', [12, 9], fill.multi_hot)
    triplet = squared_pairs.triplet_hinge(squared(a, b), squared(a, c), 0.5)
    check('triplet', triplet.mean(), inputs, recorded)
    triplet = squared_pairs.triplet_hinge(squared(a, b), squared(a, c), 0.5)
    check('triplet_sum', triplet.sum(), inputs, recorded)
    pairs = squared_pairs.contrastive(squared(a, b), same, 1.5)
    check('contrastive', pairs.mean(), [a, b], recorded)
    pairs = squared_pairs.contrastive(squared(a, b), same, 1.5)
    check('contrastive_sum', pairs.sum(), [a, b], recorded)
    scores = tensor('grn/loss/logits', [12, 9])
    np.testing.assert_allclose(
        label_ranking.lsep(scores.sigmoid(), labels).item(), recorded['lsep'], rtol=1e-4
    )
    # the module works on the batch itself, L2-normalised
    hinge = MODELS.build(dict(type='PairHingeLoss'))(F.normalize(a), None, labels)
    np.testing.assert_allclose(hinge.item(), recorded['hinge'], rtol=1e-4)
    unit = F.normalize(a.detach()).requires_grad_()
    distances = (2 - 2 * unit @ unit.t()).clamp_min(0)
    value = squared_pairs.pairwise_hinge(
        (unit[:, None] - unit[None]).square().sum(2), labels @ labels.t(), 0.44
    )
    np.testing.assert_allclose(
        squared_pairs.pairwise_hinge(distances, labels @ labels.t(), 0.44).item(),
        value.item(),
        rtol=1e-5,
    )
    (grad,) = torch.autograd.grad(value, unit)
    np.testing.assert_allclose(grad, recorded['hinge_grad0'], rtol=1e-3, atol=1e-5)


def test_all_triplets_equals_the_loop():
    embedding = torch.randn(9, 4, requires_grad=True)
    labels = (torch.rand(9, 4) < 0.4).float()
    ours = MODELS.build(dict(type='SquaredTripletLoss'))(embedding, None, labels)
    unit, alike = F.normalize(embedding), labels @ labels.t() > 0
    terms = [
        ((unit[i] - unit[p]).square().sum() - (unit[i] - unit[n]).square().sum() + 0.5).clamp_min(0)
        for i in range(9)
        for p in range(9)
        for n in range(9)
        if i != p and alike[i, p] and not alike[i, n] and i != n
    ]
    # an image without label is not alike even to itself: it is no triplet's negative of its own
    torch.testing.assert_close(ours, torch.stack(terms).mean())
    torch.testing.assert_close(
        *[torch.autograd.grad(value, embedding)[0] for value in (ours, torch.stack(terms).mean())]
    )


def test_contrastive_module_equals_the_loop():
    embedding = torch.randn(7, 4, requires_grad=True)
    labels = (torch.rand(7, 3) < 0.4).float()
    ours = MODELS.build(dict(type='PairContrastiveLoss'))(embedding, None, labels)
    unit = F.normalize(embedding)
    terms = [
        squared_pairs.contrastive(
            (unit[i] - unit[j]).square().sum(), (labels[i] @ labels[j] > 0).float(), 1.5
        )
        for i in range(7)
        for j in range(i)
    ]
    torch.testing.assert_close(ours, torch.stack(terms).mean(), rtol=1e-4, atol=1e-5)


def test_warp_draws_until_a_violation():
    # one label, scored far above all others but one: the expected draws are the harmonic weight
    scores = torch.tensor([[10.0, 9.5, 0.0, 0.0, 0.0]], requires_grad=True)
    labels = torch.tensor([[1, 0, 0, 0, 0]])
    torch.manual_seed(0)
    values = torch.stack([label_ranking.warp(scores, labels) for _ in range(300)])
    # drawn at position 1, 2, 3, 4 with equal chance: ranks 4, 2, 1, 1, each with hinge 0.5
    expected = 0.5 * np.mean([1 + 1 / 2 + 1 / 3 + 1 / 4, 1 + 1 / 2, 1, 1])
    assert values.mean().item() == pytest.approx(expected, rel=0.08)
    values.mean().backward()
    assert scores.grad[0, 0] < 0 < scores.grad[0, 1]
    assert scores.grad[0, 2:].abs().max() == 0


@pytest.mark.parametrize(
    'name', ['LSEPLoss', 'WARPLoss', 'PairHingeLoss', 'SquaredTripletLoss', 'PairContrastiveLoss']
)
@pytest.mark.parametrize('fill_value', [0.0, 1.0])
def test_degenerate_labels_give_a_finite_loss(name, fill_value):
    embedding = torch.randn(5, 8, requires_grad=True)
    logits = torch.randn(5, 4, requires_grad=True)
    loss = MODELS.build(dict(type=name))(embedding, logits, torch.full((5, 4), fill_value))
    (loss + 0 * embedding.sum() + 0 * logits.sum()).backward()
    assert loss.isfinite() and embedding.grad.isfinite().all() and logits.grad.isfinite().all()


def test_ranking_losses_need_logits():
    with pytest.raises(ConfigError, match='needs logits'):
        MODELS.build(dict(type='LSEPLoss'))(torch.randn(2, 3), None, torch.ones(2, 4))
