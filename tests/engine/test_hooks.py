import errno

import pytest
from mmengine.config import Config
from mmengine.fileio import put_text
from mmengine.hooks import Hook

from rs_mm.checkpoint import load_file
from rs_mm.engine.hooks.checkpoint import CheckpointHook
from rs_mm.errors import ConfigError, DataError
from rs_mm.launch.config import build_runner
from rs_mm.registry import HOOKS, METRICS
from tests.toy import ToyMetric, toy_config


@HOOKS.register_module()
class PoisonHook(Hook):
    """Spoils a weight before an iteration, as a diverging run would."""

    def __init__(self, at):
        self.at = at

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.at:
            runner.model.net[0].weight.data[0, 0] = float('nan')


def test_numeric_guard_names_the_iteration_and_keeps_the_checkpoint(tmp_path):
    config = toy_config(
        tmp_path,
        iters=9,
        custom_hooks=[dict(type='PoisonHook', at=5), dict(type='NumericGuardHook', interval=4)],
    )
    with pytest.raises(DataError, match='loss and the gradient .* iteration 5 on rank 0'):
        build_runner(Config(config)).train()
    assert (tmp_path / 'iter_3.pth').exists() and not (tmp_path / 'iter_6.pth').exists()
    weights = load_file(tmp_path / 'iter_3.pth')['state_dict']
    assert all(value.isfinite().all() for value in weights.values())


def test_numeric_guard_lets_a_good_run_pass(tmp_path):
    build_runner(
        Config(
            toy_config(tmp_path, iters=9, custom_hooks=[dict(type='NumericGuardHook', interval=4)])
        )
    ).train()


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    config = toy_config(tmp_path, iters=3)
    config['default_hooks']['checkpoint']['max_keep_ckpts'] = 1
    build_runner(Config(config)).train()
    config['train_cfg']['max_iters'] = 6
    config.update(resume=True, experiment_name='again')
    runner = build_runner(Config(config))

    def full(fd):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr('os.fsync', full)
    with pytest.raises(OSError, match='No space'):
        runner.train()
    monkeypatch.undo()
    names = sorted(path.name for path in tmp_path.glob('*iter*'))
    assert names == ['iter_3.pth']
    assert load_file(tmp_path / 'iter_3.pth')['meta']['iter'] == 3
    # with room again, the run goes on and the outdated file goes
    config['experiment_name'] = 'third'
    build_runner(Config(config)).train()
    assert sorted(path.name for path in tmp_path.glob('*iter*')) == ['iter_6.pth']


def test_text_files_still_go_through_the_backend(tmp_path):
    put_text('words', str(tmp_path / 'a' / 'b.txt'))
    assert (tmp_path / 'a' / 'b.txt').read_text() == 'words'


def test_throughput_is_logged(tmp_path):
    config = toy_config(tmp_path, iters=4)
    config['default_hooks'].update(
        timer=dict(type='IterTimerHook'), throughput=dict(type='ThroughputHook')
    )
    runner = build_runner(Config(config))
    runner.train()
    hub = runner.message_hub
    seconds = hub.get_scalar('train/time').current()
    assert hub.get_scalar('train/samples_per_second').current() == pytest.approx(3 / seconds)
    assert 0 <= hub.get_scalar('train/data_wait').current() <= 1


@METRICS.register_module()
class NamedToyMetric(ToyMetric):
    def result_keys(self):
        return ['mean', 'count']


@pytest.mark.parametrize(
    'best, prefix, refused',
    [
        ('means', None, "reports no `means`; did you mean 'mean'.* It reports mean, count"),
        (
            'mean',
            'toy',
            "reports no `mean`; did you mean 'toy/mean'.* It reports toy/mean, toy/count",
        ),
        ('toy/mean', 'toy', None),
        ('auto', None, None),
    ],
)
def test_save_best_of_what_is_reported(tmp_path, best, prefix, refused):
    config = toy_config(
        tmp_path,
        iters=2,
        val_cfg=dict(type='ValLoop'),
        val_evaluator=dict(type='NamedToyMetric', prefix=prefix),
    )
    config['val_dataloader'] = dict(
        config['train_dataloader'], sampler=dict(type='DefaultSampler', shuffle=False)
    )
    config['train_cfg']['val_interval'] = 2
    config['default_hooks']['checkpoint'].update(save_best=best, rule='greater')
    runner = build_runner(Config(config))
    if refused:
        with pytest.raises(ConfigError, match=refused):
            runner.train()
        assert runner.iter == 0
    else:
        runner.train()
        assert list(tmp_path.glob('best_*mean_iter_2.pth'))


def test_a_metric_that_is_not_a_number_is_said_where_the_best_is_saved(tmp_path):
    runner = build_runner(Config(toy_config(tmp_path, iters=1)))
    hook = CheckpointHook(save_best='F1', rule='greater')
    hook.before_train(runner)
    logged = []
    runner.logger.warning = logged.append
    hook._save_best_checkpoint(runner, {'F1': float('nan')})
    assert 'F1' in logged[0] and not list(tmp_path.glob('best_*'))
