"""A run that a scheduler ends loses no step: its resumed rest equals a run without a break."""

import os
import signal

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook

from rs_mm.apis.training import train
from rs_mm.checkpoint import load_file
from rs_mm.engine.preemption import Preempted, catching_signals
from rs_mm.launch.config import build_runner, prepare
from rs_mm.registry import HOOKS
from tests.distributed import run_processes
from tests.toy import toy_config


@HOOKS.register_module()
class SignalHook(Hook):
    """Sends a signal as a scheduler would: to the run's processes and its workers'."""

    def __init__(self, at, number=signal.SIGTERM, in_validation=False, rank=0, group=False):
        self.at, self.number, self.in_validation = at, number, in_validation
        self.rank, self.group = rank, group

    def _send(self, runner):
        if runner.rank == self.rank:
            workers = multiprocessing_children() if self.group else []
            for process in (*workers, os.getpid()):
                os.kill(process, self.number)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.at and not self.in_validation:
            self._send(runner)

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.at and self.in_validation and batch_idx == 1:
            self._send(runner)


def multiprocessing_children():
    import multiprocessing

    return [child.pid for child in multiprocessing.active_children()]


def config_file(tmp_path, name, signal_hook=None, by_epoch=False, validate=False, **over):
    config = toy_config(tmp_path / name, iters=9, **over)
    del config['experiment_name']
    loader = config['train_dataloader']
    if by_epoch:
        loader['sampler'] = dict(type='DefaultSampler', shuffle=True)
        loader['dataset']['size'] = 9
        config['train_cfg'] = dict(type='EpochBasedTrainLoop', max_epochs=3, val_interval=1)
        config['default_hooks'] = dict(checkpoint=dict(type='CheckpointHook', interval=1))
    if validate:
        config.update(val_cfg=dict(type='ValLoop'), val_evaluator=dict(type='ToyMetric'))
        config['val_dataloader'] = dict(
            loader, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False)
        )
    if signal_hook:
        config['custom_hooks'] = [dict(type='SignalHook', **signal_hook)]
    path = tmp_path / f'{name}{bool(signal_hook)}.py'
    Config(config).dump(path)
    return path


def assert_equal_runs(whole, part):
    assert whole.iter == part.iter
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, part.model.state_dict()[name]), name
    first, second = (run.optim_wrapper.state_dict()['state'] for run in (whole, part))
    assert all(
        torch.equal(first[i]['momentum_buffer'], second[i]['momentum_buffer']) for i in first
    )


@pytest.mark.parametrize('by_epoch', [False, True])
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGUSR1])
def test_no_step_is_lost(tmp_path, number, by_epoch):
    whole = train(config_file(tmp_path, 'whole', by_epoch=by_epoch))
    hook = dict(at=5, number=int(number))
    with pytest.raises(Preempted) as ended:
        train(config_file(tmp_path, 'part', hook, by_epoch))
    assert ended.value.code == 128 + number
    assert load_file(tmp_path / 'part/preempted.pth')['meta']['iter'] == 5
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    resumed = train(config_file(tmp_path, 'part', by_epoch=by_epoch), resume='auto')
    assert_equal_runs(whole, resumed)
    assert not (tmp_path / 'part/preempted.pth').exists()  # a later one is there


def test_workers_outlive_the_signal(tmp_path):
    whole = train(config_file(tmp_path, 'whole'))
    with pytest.raises(Preempted):
        train(config_file(tmp_path, 'part', dict(at=5, group=True), workers=2))
    assert_equal_runs(whole, train(config_file(tmp_path, 'part'), resume='auto'))


@pytest.mark.parametrize('by_epoch', [False, True])
def test_a_validation_that_was_cut_off_is_repeated(tmp_path, by_epoch):
    seen = []

    @HOOKS.register_module(force=True)
    class CountingHook(Hook):
        def after_val_epoch(self, runner, metrics=None):
            seen.append((runner.iter, metrics['count']))

    def config(name, hook=None):
        path = config_file(tmp_path, name, hook, by_epoch, validate=True)
        text = path.read_text().replace('val_interval=100', 'val_interval=4')
        hooks = (
            "[*custom_hooks, dict(type='CountingHook')]" if hook else "[dict(type='CountingHook')]"
        )
        path.write_text(f'{text}\ncustom_hooks = {hooks}')
        return path

    whole = train(config('whole'))
    expected = list(seen)
    seen.clear()
    at = 6 if by_epoch else 4
    with pytest.raises(Preempted):
        train(config('part', dict(at=at, in_validation=True)))
    assert_equal_runs(whole, train(config('part'), resume='auto'))
    assert seen == expected


def ended_run(rank, folder, at, by):
    config = toy_config(
        folder,
        iters=9,
        sync_bn='torch',
        model=dict(type='ToyModel', dropout=0.0),
        custom_hooks=[dict(type='SignalHook', at=at, rank=by)] if at else [],
        resume=not at,
    )
    runner = build_runner(prepare(Config(config), 'pytorch'))
    try:
        with catching_signals():
            runner.train()
    except Preempted as ended:
        return dict(status=torch.tensor(ended.code))
    return dict(runner.model.module.state_dict())


def test_processes_agree_on_the_step(tmp_path):
    ended = run_processes(ended_run, tmp_path, tmp_path / 'part', 4, 1)
    assert [int(share['status']) for share in ended] == [143, 143]
    # the other process hears of it one step later
    assert load_file(tmp_path / 'part/preempted.pth')['meta']['iter'] == 5
    resumed = run_processes(ended_run, tmp_path, tmp_path / 'part', 0, 0)
    whole = toy_config(
        tmp_path / 'whole', iters=9, batch_size=6, model=dict(type='ToyModel', dropout=0.0)
    )
    runner = build_runner(Config(whole))
    runner.train()
    for name, value in runner.model.state_dict().items():
        torch.testing.assert_close(value, resumed[0][name], rtol=1e-5, atol=1e-6, msg=name)
