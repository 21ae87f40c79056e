"""Parameter groups, rates and three training iterations against the original code."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from torch import nn

from rs_mm.engine.counted_poly_lr import CountedPolyLR
from rs_mm.engine.weight_bias_groups import WeightBiasOptimWrapperConstructor
from rs_mm.errors import ConfigError
from rs_mm.launch.config import build_runner, prepare
from rs_mm.registry import HOOKS
from rs_mm.structures import EpisodeDataSample
from tests.fss_parity import build_model, case_input, case_state, close, load_case
from tests.toy import toy_config
from tools.model_converters.sccnet import convert_name


def _wrapper(model, **paramwise):
    return WeightBiasOptimWrapperConstructor(
        dict(
            type='OptimWrapper',
            optimizer=dict(type='SGD', lr=9e-4, momentum=0.9, weight_decay=5e-4),
        ),
        paramwise,
    )(model)


def test_groups():
    manifest, _ = load_case('sccnet', 'optimiser')
    model = build_model()
    wrapper = _wrapper(model)
    names = {id(p): n for n, p in model.named_parameters()}
    for group, expected in zip(wrapper.optimizer.param_groups, manifest['groups'], strict=True):
        ours = [names[id(p)] for p in group['params']]
        theirs = [n for n in map(convert_name, expected['names']) if n]
        assert sorted(ours) == sorted(theirs)
        for key in ('momentum', 'weight_decay', 'nesterov', 'dampening'):
            assert group[key] == expected[key]
        assert group['lr'] == pytest.approx(expected['initial_lr'], rel=1e-12)


def test_groups_split_by_backbone():
    model = build_model(frozen=False)
    groups = _wrapper(model, split_backbone=True).optimizer.param_groups
    sizes = [len(g['params']) for g in groups]
    assert sizes == [106, 53, 99, 98]
    assert [g['lr'] / 9e-4 for g in groups] == pytest.approx([1, 2, 10, 20])


def test_unknown_option():
    with pytest.raises(ConfigError, match='bakbone'):
        _wrapper(nn.Linear(1, 1), bakbone=1)


def test_schedule():
    schedule = load_case('sccnet', 'optimiser')[0]['schedule']
    wrapper = OptimWrapper(
        torch.optim.SGD(
            [dict(params=[nn.Parameter(torch.zeros(1))], lr=m * 9e-4) for m in (1, 2, 10, 20)], lr=1
        )
    )
    scheduler = CountedPolyLR(wrapper, end=200000)
    rates = {}
    wrapper.optimizer._global_step = 0
    for t in range(1, 200003):
        if str(t) in schedule['lr_per_group_at_iteration'] or t > 200000:
            rates[str(t)] = [g['lr'] for g in wrapper.optimizer.param_groups]
        scheduler.step()
    for t, expected in schedule['lr_per_group_at_iteration'].items():
        assert rates[t] == pytest.approx(expected, rel=1e-12)
    assert rates['200001'] == [0, 0, 0, 0]


def test_schedule_goes_on_after_a_resume():
    def build():
        wrapper = OptimWrapper(torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1))
        wrapper.optimizer._global_step = 0
        return wrapper, CountedPolyLR(wrapper, end=10)

    one, first = build()
    first.step()
    two, second = build()
    second.load_state_dict(first.state_dict())
    first.step()
    second.step()
    rates = [wrapper.optimizer.param_groups[0]['lr'] for wrapper in (one, two)]
    assert rates == pytest.approx([0.7**0.9] * 2)


@pytest.mark.parametrize('val_batch', [1, 5])
def test_validation_counts(tmp_path, val_batch):
    """12 samples in batches of 4: epochs of 3 steps, and 10 validated samples count as 3 more."""
    config = toy_config(tmp_path, iters=30, batch_size=4)
    data = config['train_dataloader']['dataset']
    config['train_dataloader']['dataset'] = dict(data, size=12)
    config['val_dataloader'] = dict(
        batch_size=val_batch,
        num_workers=0,
        dataset=data,
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    config.update(
        val_cfg=dict(type='ValLoop'),
        val_evaluator=dict(type='ToyMetric'),
        param_scheduler=[dict(type='CountedPolyLR', power=0.9, end=30)],
        custom_hooks=[dict(type='CountValidationHook'), dict(type='RateLog')],
    )
    config['train_cfg']['val_interval'] = 'epoch'
    runner = build_runner(prepare(Config(config)))
    runner.train()
    trained = [t for t in range(1, 31) if (t - 1) % 6 < 3]  # t of the original's training batches
    assert runner.iter == len(trained) == 15
    rates = next(h for h in runner.hooks if isinstance(h, RateLog)).rates
    assert rates == pytest.approx([0.05 * (1 - t / 30) ** 0.9 for t in trained])


@HOOKS.register_module()
class RateLog(Hook):
    """Keeps the rate of every training iteration."""

    def __init__(self):
        self.rates = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.rates.append(runner.optim_wrapper.param_groups[0]['lr'])


@pytest.mark.parametrize(
    'extra, guided, key',
    [
        (None, 1.0, 'loss_per_iteration'),
        pytest.param(
            'area', 0.5, 'loss_per_iteration_with_area_loss_ld0.5', marks=pytest.mark.slow
        ),
        pytest.param(
            'focal', 1.0, 'loss_per_iteration_with_focal_loss_ld1', marks=pytest.mark.slow
        ),
    ],
)
def test_three_iterations(extra, guided, key):
    manifest, arrays = load_case('sccnet', 'resnet50_train_steps')
    model = build_model(extra_loss=extra, guided_weight=guided).train()
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    wrapper = _wrapper(model)
    scheduler = CountedPolyLR(wrapper, end=200000)
    losses = []
    for k in range(3):
        inputs = {i['role']: case_input(i, k=k) for i in manifest['inputs'] if 'kind' in i}
        samples = [
            EpisodeDataSample(support_mask=s[None], gt_mask=q)
            for s, q in zip(inputs['support_masks'], inputs['query_mask'])
        ]
        total = sum(
            model(
                dict(query=inputs['query_img'], support=inputs['support_imgs'][:, None]),
                samples,
                mode='loss',
            ).values()
        )
        losses.append(total.item())
        rates = manifest['scalars']['lr_per_group_per_iteration'][k]
        assert [g['lr'] for g in wrapper.optimizer.param_groups] == pytest.approx(rates, rel=1e-12)
        wrapper.zero_grad()
        total.backward()
        if k == 0 and extra is None:
            _compare(
                manifest['gradient_norms_first_iteration'],
                {n: p.grad for n, p in model.named_parameters()},
                2e-3,
            )
        wrapper.optimizer.step()
        scheduler.step()
    assert losses == pytest.approx(manifest['scalars'][key], abs=1e-4)
    if extra is None:
        now = dict(model.named_parameters())
        _compare(
            manifest['parameter_change_norms_after_three_iterations'],
            {n: p.detach() - start[n] for n, p in now.items()},
            5e-3,
        )
        for name, value in arrays.items():
            close(now[convert_name(name)], value, 1e-4)
        assert all((now[n] == start[n]).all() for n in start if n.startswith('backbone'))


def _compare(expected, actual, relative):
    assert len(expected) == 197
    for name, value in expected.items():
        ours = actual[convert_name(name)].double().norm().item()
        # norms of what is zero but for rounding are compared in absolute terms
        assert ours == pytest.approx(value, rel=relative, abs=1e-6), name


def test_unused_backbone_entries_have_no_gradient():
    expected = load_case('sccnet', 'optimiser')[0]['gradients']
    trained = [n for n in case_state('resnet50') if not n.startswith('backbone.')]
    assert len(trained) == expected['parameters_with_gradient']
    assert np.array_equal(
        [convert_name(n) is None for n in ('backbone.fc.weight', 'backbone.conv1.weight')],
        [True, False],
    )
