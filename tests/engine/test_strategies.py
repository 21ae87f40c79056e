"""Sharded training gives the weights of plain training, and checkpoints that plain runs read."""

import torch
from mmengine.config import Config

from rs_mm.apis import train
from rs_mm.checkpoint import load_file
from rs_mm.launch.config import build_runner, prepare
from tests.distributed import run_processes
from tests.toy import toy_config


def sharded_config(folder, iters):
    return toy_config(
        folder,
        iters=iters,
        batch_size=3,
        model=dict(type='ToyModel', dropout=0.0),
        runner_type='FlexibleRunner',
        strategy=dict(type='rs_mm.FSDPStrategy', units=['net.0', 'net.1']),
        sync_bn='torch',
    )


def sharded_run(rank, folder):
    build_runner(prepare(Config(sharded_config(folder, 3)), 'pytorch')).train()
    # the second half by the command's own function, resumed
    Config(sharded_config(folder, 6)).dump(folder / f'{rank}.py')
    runner = train(folder / f'{rank}.py', resume='auto', launcher='pytorch', work_dir=str(folder))
    sizes = [p.numel() for p in runner.model.parameters()]
    return dict(shards=sizes, mean=runner.model.module.net[1].running_mean)


def test_fully_sharded_equals_plain(tmp_path):
    (tmp_path / 'results').mkdir()
    config = toy_config(
        tmp_path / 'plain', iters=6, batch_size=6, model=dict(type='ToyModel', dropout=0.0)
    )
    plain = build_runner(prepare(Config(config)))
    plain.train()
    ranks = run_processes(sharded_run, tmp_path / 'results', tmp_path / 'sharded')
    assert sum(ranks[0]['shards']) + sum(ranks[1]['shards']) == sum(
        p.numel() for p in plain.model.parameters()
    )
    saved = load_file(tmp_path / 'sharded/iter_6.pth')['state_dict']
    assert set(saved) == set(plain.model.state_dict())
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(saved[name], value, rtol=1e-5, atol=1e-6, msg=name)
