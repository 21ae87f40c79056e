"""A run that was interrupted and resumed ends with the weights of one that was not."""

import pytest
import torch
from mmengine.config import Config

from rs_mm.checkpoint import load_file
from rs_mm.launch.config import build_runner
from tests.toy import ToyDataset, toy_config


def train(config):
    runner = build_runner(Config(config))
    runner.train()
    return {name: value.clone() for name, value in runner.model.state_dict().items()}


@pytest.mark.parametrize('workers', [0, 2])
def test_resume_equals_uninterrupted(tmp_path, workers):
    whole = train(toy_config(tmp_path / 'whole', iters=8, workers=workers))
    train(toy_config(tmp_path / 'part', iters=3, workers=workers))
    # another seed in the config: the checkpoint's own counts
    resumed = train(
        toy_config(
            tmp_path / 'part', iters=8, workers=workers, resume=True, randomness=dict(seed=99)
        )
    )
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name


def test_workers_do_not_change_the_run(tmp_path):
    one = train(toy_config(tmp_path / 'a', workers=0))
    two = train(toy_config(tmp_path / 'b', workers=2))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_epoch_based_resume(tmp_path):
    def config(folder, epochs, **over):
        config = toy_config(tmp_path / folder, **over)
        config['train_cfg'] = dict(by_epoch=True, max_epochs=epochs)
        config['train_dataloader']['sampler'] = dict(type='DefaultSampler', shuffle=True)
        config['default_hooks'] = dict(checkpoint=dict(type='CheckpointHook', interval=1))
        config['train_dataloader']['dataset']['size'] = 9
        config['experiment_name'] = f'{folder}{epochs}'
        return config

    whole = train(config('whole', 3))
    train(config('part', 1))
    resumed = train(config('part', 3, resume=True))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_resume_never_runs_the_config_in_a_checkpoint(tmp_path):
    train(toy_config(tmp_path, iters=3))
    path = tmp_path / 'iter_3.pth'
    checkpoint = load_file(path)
    marker = tmp_path / 'was_run'
    checkpoint['meta']['config'] = f'open({str(marker)!r}, "w").close()'
    torch.save(checkpoint, path)
    train(toy_config(tmp_path, iters=4, resume=True))
    assert not marker.exists()


def test_a_late_resume_loads_no_more_than_its_own_batches(tmp_path, monkeypatch):
    schedule = [dict(type='PolyLR', power=0.9, end=150_002, by_epoch=False)]
    train(toy_config(tmp_path, iters=3, param_scheduler=schedule))
    path = tmp_path / 'iter_3.pth'
    checkpoint = load_file(path)
    checkpoint['meta']['iter'] = 150_000
    torch.save(checkpoint, path)
    loaded = []
    real = ToyDataset.__getitem__
    monkeypatch.setattr(
        ToyDataset, '__getitem__', lambda self, index: loaded.append(index) or real(self, index)
    )
    train(toy_config(tmp_path, iters=150_002, resume=True, param_scheduler=schedule))
    assert len(loaded) == 2 * 3
