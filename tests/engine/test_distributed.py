"""Two processes of half the batch do what one process does."""

import pytest
import torch
from mmengine.config import Config
from torch import nn

from rs_mm.engine.distributed_wrapper import GlooSyncBatchNorm, for_gloo
from rs_mm.launch.config import build_runner, prepare
from tests.distributed import run_processes
from tests.toy import toy_config


def normalise(rank, inputs, weight):
    torch.manual_seed(0)
    layer = for_gloo(nn.Sequential(nn.SyncBatchNorm(3)))
    assert type(layer[0]) is GlooSyncBatchNorm
    # unequal shares of the joint batch
    mine = inputs[:5] if rank == 0 else inputs[5:]
    mine = mine.clone().requires_grad_()
    out = layer(mine)
    (out * weight[: len(mine)] if rank == 0 else out * weight[5:]).sum().backward()
    return dict(
        out=out.detach(), grad=mine.grad, mean=layer[0].running_mean, var=layer[0].running_var
    )


def test_sync_batch_norm_on_cpu(tmp_path):
    torch.manual_seed(3)
    inputs, weight = 5 + torch.randn(8, 3, 4, 4), torch.randn(8, 3, 4, 4)
    shares = run_processes(normalise, tmp_path, inputs, weight)
    layer, whole = nn.BatchNorm2d(3), inputs.clone().requires_grad_()
    out = layer(whole)
    (out * weight).sum().backward()
    for name, value in (('out', out.detach()), ('grad', whole.grad)):
        torch.testing.assert_close(torch.cat([share[name] for share in shares]), value)
    for share in shares:
        torch.testing.assert_close(share['mean'], layer.running_mean)
        torch.testing.assert_close(share['var'], layer.running_var)


def toy_run(rank, folder, iters, launcher='pytorch', batch_size=3, **over):
    config = toy_config(
        folder,
        iters=iters,
        batch_size=batch_size,
        sync_bn='torch',
        model=dict(type='ToyModel', dropout=0.0),
        **over,
    )
    runner = build_runner(prepare(Config(config), launcher))
    runner.train()
    model = runner.model.module if launcher != 'none' else runner.model
    hub = runner.message_hub.get_scalar('train/loss')
    return dict(losses=torch.tensor(hub.data[0]), **model.state_dict())


def test_two_processes_train_as_one(tmp_path):
    (tmp_path / 'results').mkdir()
    two = run_processes(toy_run, tmp_path / 'results', tmp_path / 'two', 6)
    one = toy_run(0, tmp_path / 'one', 6, 'none', 6)
    mean_loss = (two[0].pop('losses') + two[1].pop('losses')) / 2
    torch.testing.assert_close(mean_loss, one.pop('losses'), rtol=1e-5, atol=1e-6)
    for name, value in one.items():
        torch.testing.assert_close(two[0][name], value, rtol=1e-5, atol=1e-6, msg=name)
        torch.testing.assert_close(two[0][name], two[1][name], rtol=0, atol=0)


@pytest.mark.parametrize('first', [1, 2])
def test_resume_on_another_number_of_processes(tmp_path, first):
    """Three iterations on one number of processes, three on the other."""
    (tmp_path / 'results').mkdir()
    whole = toy_run(0, tmp_path / 'whole', 6, 'none', 6)
    if first == 1:
        toy_run(0, tmp_path / 'part', 3, 'none', 6)
        parts = run_processes(resumed_run, tmp_path / 'results', tmp_path / 'part')
    else:
        run_processes(toy_run, tmp_path / 'results', tmp_path / 'part', 3)
        parts = [toy_run(0, tmp_path / 'part', 6, 'none', 6, resume=True)]
    for name in set(whole) - {'losses'}:
        torch.testing.assert_close(parts[0][name], whole[name], rtol=1e-5, atol=1e-6, msg=name)


def resumed_run(rank, folder):
    return toy_run(rank, folder, 6, resume=True)
