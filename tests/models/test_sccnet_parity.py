"""The network against the numbers of the original code."""

import numpy as np
import pytest
import torch

from rs_mm.models.heads import SelfCrossCorrelationHead
from rs_mm.models.heads.hypercorrelation import StageFeatures, resize_mask
from rs_mm.models.segmentors.few_shot_segmentor import vote
from rs_mm.structures import EpisodeDataSample
from tests.fss_parity import build_model, case_input, close, load_case

pytestmark = pytest.mark.usefixtures('_seed')


@pytest.fixture(scope='module')
def model():
    return build_model()


def _samples(support_mask, **more):
    return [
        EpisodeDataSample(support_mask=m, **{k: v[i] for k, v in more.items()})
        for i, m in enumerate(support_mask)
    ]


@pytest.mark.parametrize('name', ['resnet50_eval_fwd', 'resnet50_train_fwd'])
def test_forward(model, name):
    manifest, arrays = load_case('sccnet', name)
    inputs = {item['role']: case_input(item) for item in manifest['inputs']}
    query_mask, support_mask = inputs.get('query_mask'), inputs['support_mask']
    with torch.no_grad():
        maps = model.backbone(torch.cat([inputs['query_img'], inputs['support_img']]))
        query = tuple([m[:2] for m in stage] for stage in maps)
        support = tuple([m[2:] for m in stage] for stage in maps)
        out = model.head(
            [StageFeatures(stage) for stage in query[::-1]],
            [StageFeatures(stage) for stage in support[::-1]],
            support_mask[:, None],
            (256, 256),
            query_mask,
        )
    close(out.logits[:, 0, :, ::4, ::4], arrays['logit'], 5e-5)
    assert (out.first_mask[:, 0].numpy() != arrays['first_mask']).mean() <= 2e-4
    assert (out.logits[:, 0].argmax(1).numpy() != arrays['pred']).mean() <= 5e-4
    if query_mask is None:
        assert out.guided_logits is None
    else:
        close(out.guided_logits[:, 0, :, ::4, ::4], arrays['logit_mask3'], 5e-5)

    head = model.head
    q = [StageFeatures(stage) for stage in query[::-1]]
    s = [StageFeatures(stage) for stage in support[::-1]]
    first = out.first_mask[:, 0]
    masks = [resize_mask(first, stage.size)[:, None] for stage in q]
    kinds = dict(
        cross=head.cross_correlations(q, s, support_mask[:, None]),
        self=head.self_correlations(q, masks),
    )
    if query_mask is not None:
        kinds['self_qmask'] = head.self_correlations(
            q, [m * resize_mask(query_mask, stage.size)[:, None] for m, stage in zip(masks, q)]
        )
    for kind, correlations in kinds.items():
        for layer, step, c in zip((4, 3, 2), (2, 4, 8), correlations):
            c = c.permute(0, 5, 1, 2, 3, 4)
            expected = arrays[f'corr_{kind}_l{layer}']
            close(c[:, :, ::step, ::step, :: 2 * step, :: 2 * step], expected, 2e-5)
            full = manifest['outputs'][f'corr_{kind}_l{layer}']['full']
            assert list(c.shape) == full['shape']
            assert abs(c.mean().item() - full['mean']) < 1e-5
    with torch.no_grad():
        close(head.cross_learner(kinds['cross']), arrays['coarse_logit'], 5e-5)
        close(head.self_learner(kinds['self']), arrays['coarse_logit2'], 5e-5)


def test_losses(model):
    manifest, _ = load_case('sccnet', 'resnet50_train_fwd')
    inputs = {item['role']: case_input(item) for item in manifest['inputs']}
    images = dict(query=inputs['query_img'], support=inputs['support_img'][:, None])
    with torch.no_grad():
        output = model._logits(
            images, _samples(inputs['support_mask'][:, None]), inputs['query_mask']
        )
    for extra, weight, key in [
        (None, 1.0, 'total_loss_ld1_no_extra'),
        ('focal', 1.0, 'total_loss_ld1_focal'),
        ('area', 1.0, 'total_loss_ld1_area'),
        (None, 0.5, 'total_loss_ld0.5_no_extra'),
    ]:
        head = SelfCrossCorrelationHead(guided_weight=weight, extra_loss=extra)
        losses = head.loss(output, inputs['query_mask'])
        assert abs(sum(losses.values()).item() - manifest['scalars'][key]) < 2e-5, key


@pytest.mark.parametrize('shots', [1, 5])
def test_predict(model, shots):
    manifest, arrays = load_case('sccnet', f'resnet50_predict_{shots}shot')
    query, support, mask = (case_input(item) for item in manifest['inputs'])
    support, mask = support.view(2, shots, 3, 256, 256), mask.view(2, shots, 256, 256)
    inputs = dict(query=query, support=support)
    samples = model(inputs, _samples(mask), mode='predict')
    pred = np.stack([s.pred_mask.numpy() for s in samples])
    votes = np.stack([s.votes.numpy() for s in samples])
    assert (pred != arrays['pred']).mean() <= 5e-4
    assert (votes != arrays['votes']).mean() <= 5e-4
    with torch.no_grad():
        logits = model(inputs, _samples(mask), mode='tensor')
    for shot in range(shots):
        close(logits[:, shot, :, ::4, ::4], arrays[f'logit_shot{shot}'], 5e-5)


def test_vote_rule():
    manifest, arrays = load_case('sccnet', 'vote_rule_5shot')
    logits = case_input(manifest['inputs'][0])
    logits[:, :, 1] += torch.tensor([-20.0, -4.0, -2.5, -2.0, -1.2, 0.0])[:, None, None]
    mask, votes = vote(logits.argmax(2).transpose(0, 1))
    assert (mask.numpy() == arrays['pred']).all()
    assert (votes.numpy() == arrays['votes']).all()
