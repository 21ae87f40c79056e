"""What a config may ask of a run: accumulation, averaged weights, a profile, stopping early."""

import json
import re

import pytest
import torch
from mmengine.config import Config

from rs_mm.apis import train
from rs_mm.checkpoint import load_file
from rs_mm.errors import CheckpointError, ConfigError
from rs_mm.launch.config import build_runner, prepare
from tests.engine import toy_linear  # noqa: F401
from tests.toy import toy_config

PLAIN = dict(type='ToyModel', dropout=0.0)


def run(config):
    runner = build_runner(prepare(Config(config)))
    runner.train()
    return runner


def weights(runner):
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


def optimizer(type='OptimWrapper', **over):
    return dict(type=type, optimizer=dict(type='SGD', lr=0.05, momentum=0.9), **over)


def without_norm(folder, **over):
    return toy_config(folder, model=dict(type='ToyLinear'), **over)


def test_accumulated_halves_equal_the_whole_batch(tmp_path):
    whole = run(without_norm(tmp_path / 'a', iters=3, batch_size=6, param_scheduler=None))
    halves = run(
        without_norm(
            tmp_path / 'b',
            iters=6,
            batch_size=3,
            param_scheduler=None,
            optim_wrapper=optimizer(accumulative_counts=2),
        )
    )
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(halves)[name], value, msg=name)


def test_clipping_bounds_the_step(tmp_path):
    before = weights(build_runner(prepare(Config(without_norm(tmp_path / 'a')))))
    after = weights(
        run(
            without_norm(
                tmp_path / 'b', iters=1, optim_wrapper=optimizer(clip_grad=dict(max_norm=0.01))
            )
        )
    )
    step = torch.cat([(after[name] - before[name]).flatten() for name in before]).norm()
    assert step == pytest.approx(0.05 * 0.01, rel=1e-3)


def test_activation_checkpointing_changes_no_weight(tmp_path):
    plain = run(toy_config(tmp_path / 'a', model=PLAIN, iters=3))
    saving = run(
        toy_config(
            tmp_path / 'b', model=PLAIN, iters=3, activation_checkpointing=['net.0', 'net.3']
        )
    )
    for name, value in weights(plain).items():
        torch.testing.assert_close(weights(saving)[name], value, msg=name)


@pytest.mark.parametrize('wrapper', ['OptimWrapper', 'AmpOptimWrapper'])
def test_compiled_steps_are_the_same(tmp_path, wrapper):
    plain, compiled = (
        run(
            toy_config(
                tmp_path / name,
                model=PLAIN,
                iters=3,
                compile=how,
                optim_wrapper=optimizer(type=wrapper),
            )
        )
        for name, how in (('a', False), ('b', dict(backend='aot_eager')))
    )
    assert compiled.model.net._compiled_call_impl is not None
    assert compiled.model._compiled_call_impl is None
    assert 'train_step' not in vars(compiled.model)  # as mmengine would compile it
    assert Config.fromfile(next((tmp_path / 'b').glob('*.py'))).compile == dict(backend='aot_eager')
    for name, value in weights(plain).items():
        torch.testing.assert_close(weights(compiled)[name], value, msg=name)


def test_mixed_precision_on_a_cpu(tmp_path):
    config = toy_config(tmp_path / 'a', model=PLAIN, iters=3)
    Config(config).dump(tmp_path / 'a.py')
    mixed = train(tmp_path / 'a.py', amp=True)
    plain = run(toy_config(tmp_path / 'b', model=PLAIN, iters=3))
    differ = [
        not torch.equal(value, weights(mixed)[name])
        for name, value in weights(plain).items()
        if value.is_floating_point()
    ]
    assert any(differ)
    for name, value in weights(plain).items():
        torch.testing.assert_close(weights(mixed)[name], value, rtol=0.05, atol=0.02, msg=name)
    # its checkpoint goes on, in either precision
    for wrapper in ('AmpOptimWrapper', 'OptimWrapper'):
        again = run(
            toy_config(
                tmp_path / 'a',
                model=PLAIN,
                iters=5,
                resume=True,
                optim_wrapper=optimizer(type=wrapper),
            )
        )
        assert again.iter == 5


def test_float16_is_not_for_a_cpu(tmp_path):
    config = toy_config(tmp_path, optim_wrapper=optimizer(type='AmpOptimWrapper', dtype='float16'))
    with pytest.raises(ConfigError, match='optim_wrapper.dtype is float16: on a CPU'):
        run(config)


def ema_config(folder, iters, **over):
    return toy_config(
        folder,
        iters=iters,
        custom_hooks=[dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.2)],
        **over,
    )


def test_averaged_weights_survive_a_resume(tmp_path):
    run(ema_config(tmp_path / 'whole', 6))
    run(ema_config(tmp_path / 'part', 3))
    run(ema_config(tmp_path / 'part', 6, resume=True))
    whole, part = (load_file(tmp_path / name / 'iter_6.pth') for name in ('whole', 'part'))
    for key in ('state_dict', 'ema_state_dict'):
        assert whole[key].keys() == part[key].keys()
        for name, value in whole[key].items():
            assert torch.equal(part[key][name], value), name
    # what a test loads is the average, not the last step
    assert any(
        not torch.equal(whole['state_dict'][name], whole['ema_state_dict'][f'module.{name}'])
        for name in whole['state_dict']
    )


def test_early_stopping(tmp_path):
    config = toy_config(
        tmp_path,
        iters=50,
        optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.0)),
    )
    config['val_dataloader'] = dict(
        batch_size=5,
        num_workers=0,
        dataset=config['train_dataloader']['dataset'],
        sampler=dict(type='DefaultSampler', shuffle=False),
    )
    config['model'] = PLAIN
    config.update(val_cfg=dict(type='ValLoop'), val_evaluator=dict(type='ToyMetric'))
    config['train_cfg']['val_interval'] = 2
    config['custom_hooks'] = [
        dict(type='EarlyStoppingHook', monitor='count', patience=3, min_delta=0.1, rule='greater')
    ]
    # the count never grows: the first validation, and three more
    assert run(config).iter == 8


def test_profiler_writes_a_trace_of_the_window(tmp_path):
    config = toy_config(tmp_path, iters=6, log_level='INFO')
    config['default_hooks']['profiler'] = dict(type='ProfilerHook', iterations=2, skip=3)
    run(config)
    (trace,) = tmp_path.glob('*/trace_iter_3.json')
    events = json.loads(trace.read_text())['traceEvents']
    assert sum(event['name'].startswith('Optimizer.step') for event in events) == 2
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'iterations 3 to 4 in' in log and 'aten::' in log


@pytest.mark.parametrize(
    'over, words',
    [
        (
            dict(optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=0.1))),
            r'the optimizer of the checkpoint \(SGD\) is not that of this config \(Adam\)',
        ),
        (
            dict(
                optim_wrapper=dict(
                    optimizer=dict(type='SGD', lr=0.1, weight_decay=0.0),
                    paramwise_cfg=dict(norm_decay_mult=0.0),
                )
            ),
            r'the optimizer of the checkpoint \(\[6\] parameters with .*momentum.* is not that of '
            r'this config \(\[1, 1, 1, 1, 1, 1\] parameters with',
        ),
        (
            dict(
                param_scheduler=[
                    dict(type='ConstantLR', factor=1),
                    dict(type='ConstantLR', factor=1),
                ]
            ),
            r'learning-rate schedule of the checkpoint \(1\) is not that of this config \(2\)',
        ),
    ],
)
def test_resume_from_another_training(tmp_path, over, words):
    run(toy_config(tmp_path / 'run', iters=3))
    Config(toy_config(tmp_path / 'run', iters=6, **over)).dump(tmp_path / 'other.py')
    with pytest.raises(CheckpointError, match=words) as caught:
        train(tmp_path / 'other.py', resume='auto', work_dir=str(tmp_path / 'run'))
    assert 'load_from=' in str(caught.value)


def test_resume_from_another_class_with_the_same_settings(tmp_path):
    run(toy_config(tmp_path, iters=3, optim_wrapper=dict(optimizer=dict(type='Adam', lr=0.1))))
    with pytest.raises(CheckpointError, match=r'optimizer of the checkpoint \(Adam\) .* \(NAdam\)'):
        run(
            toy_config(
                tmp_path,
                iters=6,
                resume=True,
                optim_wrapper=dict(optimizer=dict(type='NAdam', lr=0.1)),
            )
        )


def test_resume_names_settings_that_differ(tmp_path):
    def schedule(gamma):
        return [dict(type='ExponentialLR', gamma=gamma, by_epoch=False)]

    def optimizer(decay):
        return dict(optimizer=dict(type='SGD', lr=0.05, weight_decay=decay))

    run(toy_config(tmp_path, iters=3, param_scheduler=schedule(0.9), optim_wrapper=optimizer(0.1)))
    run(
        toy_config(
            tmp_path,
            iters=6,
            resume=True,
            log_level='INFO',
            param_scheduler=schedule(0.5),
            optim_wrapper=optimizer(0.2),
        )
    )
    log = ' '.join(path.read_text() for path in tmp_path.glob('*/*.log'))
    assert 'keeps the settings of the checkpoint: weight_decay 0.1 (config: 0.2). To' in log
    assert 'keeps the settings of the checkpoint: gamma 0.9 (config: 0.5), end 3 (config: 6)' in log


def test_resume_with_another_batch_says_so(tmp_path):
    run(toy_config(tmp_path, iters=3, batch_size=3))
    run(toy_config(tmp_path, iters=6, batch_size=4, resume=True, log_level='INFO'))
    log = ' '.join(path.read_text() for path in tmp_path.glob('*/*.log'))
    assert re.search(
        r'resumed on 1 process\(es\) of batch 4; the checkpoint is of 1 of batch 3\. '
        r'The global batch changes from 3 to 4',
        log,
    )


def test_runs_of_the_same_second_have_logs_of_their_own(tmp_path):
    """A Runner is built in well under a second; three of them share at most two seconds."""
    for name in 'abc':
        config = Config(toy_config(tmp_path / name, experiment_name='same', log_level='INFO'))
        build_runner(prepare(config)).logger.info(f'this is {name}')
    for name in 'abc':
        (log,) = (tmp_path / name).glob('*/*.log')
        assert f'this is {name}' in log.read_text()
