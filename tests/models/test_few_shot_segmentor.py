"""The few-shot segmentor: sizes, gradients, and what it says about wrong input."""

import pytest
import torch
import torchvision

from rs_mm.errors import CheckpointError, ConfigError, DataError, MissingFileError
from rs_mm.models.backbones.pre_activation import PreActivationBackbone
from rs_mm.registry import MODELS
from rs_mm.structures import EpisodeDataSample


def _model(frozen=True, **more):
    torch.manual_seed(0)
    return MODELS.build(
        dict(
            type='rs_mm.FewShotSegmentor',
            backbone=dict(type='rs_mm.PreActivationBackbone', arch='resnet18', frozen=frozen),
            head=dict(type='rs_mm.SelfCrossCorrelationHead', in_channels=(2, 2, 2)),
            data_preprocessor=dict(type='rs_mm.FewShotDataPreprocessor'),
            **more,
        )
    )


def _episode(query=(64, 64), support=(64, 64), shots=1, seed=0, gt=True):
    rng = torch.Generator().manual_seed(seed)
    mask = torch.zeros(shots, *support, dtype=torch.uint8)
    mask[:, 10:40, 12:50] = 1
    sample = EpisodeDataSample(
        support_mask=mask,
        metainfo=dict(query_name=f'q{seed}', support_names=[f's{i}' for i in range(shots)]),
    )
    if gt:
        sample.gt_mask = (torch.rand(query, generator=rng) < 0.3).to(torch.uint8)
    images = dict(
        query=torch.randint(0, 256, (3, *query), generator=rng, dtype=torch.uint8),
        support=torch.randint(0, 256, (shots, 3, *support), generator=rng, dtype=torch.uint8),
    )
    return dict(inputs=images, data_samples=sample)


def _batch(*episodes):
    return dict(
        inputs={name: [e['inputs'][name] for e in episodes] for name in ('query', 'support')},
        data_samples=[e['data_samples'] for e in episodes],
    )


def test_sizes_may_differ_between_calls_and_images():
    model = _model().eval()
    for query, support in [
        ((64, 64), (64, 64)),
        ((96, 72), (96, 72)),
        ((40, 300), (64, 96)),
        ((64, 64), (64, 64)),
    ]:
        (sample,) = model.test_step(_batch(_episode(query, support, gt=False)))
        assert sample.pred_mask.shape == query and sample.pred_mask.dtype == torch.uint8
    fresh = _model().eval()
    (again,) = fresh.test_step(_batch(_episode(gt=False)))
    assert (again.votes == sample.votes).all()


def test_batch_and_shots_equal_single_runs():
    model = _model().eval()
    episodes = [_episode(shots=3, seed=i) for i in range(2)]
    data = model.data_preprocessor(_batch(*episodes))
    with torch.no_grad():
        together = model(**data)
        for i in range(2):
            for k in range(3):
                one = dict(
                    query=data['inputs']['query'][i : i + 1],
                    support=data['inputs']['support'][i : i + 1, k : k + 1],
                )
                sample = EpisodeDataSample(
                    support_mask=episodes[i]['data_samples'].support_mask[k : k + 1]
                )
                assert torch.allclose(model(one, [sample])[0, 0], together[i, k], atol=1e-5)


@pytest.mark.parametrize('frozen', [True, False])
def test_gradients(frozen):
    model = _model(frozen=frozen).train()
    data = model.data_preprocessor(_batch(_episode(), _episode(seed=1)))
    sum(model(**data, mode='loss').values()).backward()
    for name, p in model.head.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all(), name
    with_gradient = [n for n, p in model.backbone.named_parameters() if p.grad is not None]
    assert not with_gradient if frozen else 'net.layer4.1.conv2.weight' in with_gradient
    before = model.backbone.net.stem.bn1.running_mean.clone()
    model(**data, mode='loss')
    assert (model.backbone.net.stem.bn1.running_mean == before).all()


def test_folded_copy_follows_the_weights():
    backbone = PreActivationBackbone('resnet18')
    x = torch.randn(1, 3, 64, 64)
    backbone(x)
    with torch.no_grad():
        for p in backbone.parameters():
            p.mul_(1.1)
    unfolded = backbone._features(backbone.net, x)
    for a, b in zip(backbone(x), unfolded):
        assert torch.allclose(a[-1], b[-1], rtol=1e-3, atol=1e-3)
    assert not any('folded' in key for key in backbone.state_dict())


def test_resnet_maps_are_sums_before_the_relu():
    net = torchvision.models.resnet50(weights=None).eval()
    backbone = PreActivationBackbone('resnet50')
    backbone.load_classifier(net.state_dict())
    recorded = []
    for stage in (net.layer2, net.layer3, net.layer4):
        for block in stage:
            block.bn3.register_forward_hook(lambda m, i, o: recorded.append(o.clone()))
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        net(x)
    maps = backbone(x)
    assert [len(stage) for stage in maps] == [4, 6, 3] == list(backbone.map_counts)
    # within a stage the map is the branch plus the activated map before it
    branch, before, now = recorded[1], maps[0][0], maps[0][1]
    assert torch.allclose(now, branch + before.relu(), atol=1e-4)


def test_vgg_maps():
    net = torchvision.models.vgg16(weights=None).eval()
    backbone = PreActivationBackbone('vgg16')
    backbone.load_classifier(net.state_dict())
    x, expected = torch.randn(1, 3, 64, 96), []
    maps = backbone(x)
    with torch.no_grad():
        for i, module in enumerate(net.features):
            x = module(x)
            if i in (17, 19, 21, 24, 26, 28, 30):
                expected.append(x.clone())
    assert [len(stage) for stage in maps] == [3, 3, 1] == list(backbone.map_counts)
    for ours, theirs in zip([m for stage in maps for m in stage], expected):
        assert torch.allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(
    'build, error, words',
    [
        (lambda: PreActivationBackbone('resnet49'), ConfigError, "resnet49.*did you mean 'resnet"),
        (
            lambda: PreActivationBackbone('resnet18', init_cfg=['x']).init_weights(),
            ConfigError,
            r"init_cfg=\['x'\] of PreActivationBackbone is not understood",
        ),
        (lambda: PreActivationBackbone('efficientnet_b0'), ConfigError, 'neither'),
        (lambda: _model()(None, None, mode='test'), ConfigError, 'mode'),
        (
            lambda: MODELS.build(dict(type='rs_mm.SelfCrossCorrelationHead', extra_loss='dice')),
            ConfigError,
            'extra_loss',
        ),
        (
            lambda: PreActivationBackbone(
                'resnet18', init_cfg=dict(type='Pretrained', checkpoint='no/such.pth')
            ).init_weights(),
            MissingFileError,
            'no/such.pth',
        ),
        (
            lambda: PreActivationBackbone('resnet18').load_classifier(
                torchvision.models.resnet34(weights=None).state_dict()
                | {'layer2.0.conv1.weight': torch.zeros(1)}
            ),
            CheckpointError,
            'layer2.0.conv1.weight',
        ),
        (
            lambda: PreActivationBackbone('resnet34').load_classifier(
                torchvision.models.resnet18(weights=None).state_dict()
            ),
            CheckpointError,
            'missing',
        ),
    ],
)
def test_wrong_settings(build, error, words):
    with pytest.raises(error, match=words):
        build()


def test_head_must_fit_the_backbone():
    with pytest.raises(ConfigError, match=r'in_channels.*\(2, 2, 2\)'):
        MODELS.build(
            dict(
                type='rs_mm.FewShotSegmentor',
                backbone=dict(type='rs_mm.PreActivationBackbone', arch='resnet18'),
                head=dict(type='rs_mm.SelfCrossCorrelationHead', in_channels=(4, 6, 3)),
            )
        )


def test_mask_of_another_size():
    episode = _episode()
    episode['data_samples'].support_mask = torch.ones(1, 32, 64, dtype=torch.uint8)
    with pytest.raises(DataError, match=r'query q0.*\(1, 32, 64\).*\(1, 64, 64\)'):
        _model().test_step(_batch(episode))


def test_images_of_different_sizes_in_one_batch():
    with pytest.raises(DataError, match='ResizeEpisode'):
        _model().test_step(_batch(_episode(), _episode(query=(32, 32))))


def test_empty_support_mask_warns(monkeypatch):
    said = []
    from mmengine.logging import MMLogger

    monkeypatch.setattr(MMLogger.get_current_instance(), 'warning', said.append)
    episode = _episode(shots=2)
    episode['data_samples'].support_mask[1] = 0
    (sample,) = _model().eval().test_step(_batch(episode))
    assert sample.pred_mask.max() <= 1
    assert len(said) == 1 and 's1' in said[0] and 's0' not in said[0]


def test_a_prediction_that_is_not_finite_is_refused():
    model = _model().eval()
    torch.nn.init.constant_(next(model.head.parameters()), torch.nan)
    with pytest.raises(DataError, match='prediction for query q0 is NaN'):
        model.test_step(_batch(_episode()))


def test_feature_cache_computes_each_image_once():
    plain, cached = _model().eval(), _model(feature_cache_gib=1.0).eval()
    episodes = [_episode(shots=2, seed=i, gt=False) for i in range(2)]
    episodes[1]['inputs']['support'] = episodes[0]['inputs']['support']
    episodes[1]['data_samples'].set_metainfo(
        dict(support_names=episodes[0]['data_samples'].support_names)
    )
    computed = []
    cached.backbone.register_forward_hook(lambda m, i, o: computed.append(len(i[0])))
    for _ in range(2):
        ours = cached.test_step(_batch(*episodes))
    assert computed == [4]
    theirs = plain.test_step(_batch(*episodes))
    for a, b in zip(ours, theirs):
        assert (a.votes != b.votes).float().mean() < 1e-3
    cached.train().eval()
    assert cached.feature_cache.bytes == 0
    cached.feature_cache.max_bytes = 2_000_000
    cached.test_step(_batch(*episodes))
    assert 0 < cached.feature_cache.bytes <= 2_000_000
    with pytest.raises(ConfigError, match='feature_cache_gib'):
        _model(frozen=False, feature_cache_gib=1.0)


@pytest.mark.slow  # bfloat16 has slow convolutions on many CPUs
def test_mixed_precision():
    model = _model().train()
    data = model.data_preprocessor(_batch(_episode((32, 32), (32, 32))))
    full = sum(model(**data, mode='loss').values())
    with torch.autocast('cpu', torch.bfloat16):
        mixed = sum(model(**data, mode='loss').values())
    mixed.backward()
    assert abs(mixed - full) < 0.05
    assert all(p.grad.isfinite().all() for p in model.head.parameters())
