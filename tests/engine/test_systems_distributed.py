"""Each system, trained by 2 processes of batch 4 (or 4 of 2), equals one process of batch 8."""

from pathlib import Path

import pytest
import torch
from mmengine.model import is_model_wrapper

from rs_mm.analysis.complexity import build_model
from rs_mm.datasets.fake.change_pairs import make_levir_cd
from rs_mm.datasets.fake.few_shot_scenes import make_isaid_5i
from rs_mm.datasets.fake.multilabel_images import make_multilabel
from rs_mm.launch.config import build_runner, load_config, prepare
from tests.distributed import run_processes

DEMO = Path(__file__).parents[2] / 'configs/demo'
UNITS = dict(dsqnet=['backbone'], sccnet=['backbone'], oml=['encoder'], grn=['encoder'])
FSDP = DEMO.parent / '_base_/strategies/fsdp.py'
CONFIGS = dict(
    dsqnet='dsqnet_swin_demo',
    sccnet='sccnet_fake_isaid_fold0',
    oml='oml_r18_64_12e_fake_ucm',
    grn='grn_sndl-bce_demo',
)


def system_options(system, data, batch):
    """The demo config on a few small images, without draws that differ between processes."""
    splits = ('train', 'val', 'test')
    loader = dict(num_workers=0, persistent_workers=False)
    options = {
        f'{split}_dataloader.{key}': value for split in splits for key, value in loader.items()
    }
    options |= {f'{split}_dataloader.dataset.data_root': data for split in splits}
    options |= {
        'train_dataloader.batch_size': batch,
        'test_dataloader.batch_size': 2,
        'default_hooks.checkpoint.interval': 100,
        'log_level': 'ERROR',
        'train_cfg.val_begin': 100,
        # Adam makes a full step even of a gradient that is rounding noise
        'optim_wrapper.optimizer': dict(_delete_=True, type='SGD', lr=0.02, momentum=0.9),
    }
    if system != 'dsqnet':  # whose head asks for SyncBN itself
        options['sync_bn'] = 'torch'
    iterations, epochs = {'train_cfg.max_iters': 3}, {'train_cfg.max_epochs': 1}
    if system == 'dsqnet':
        options |= iterations | {
            'model.backbone.drop_path_rate': 0.0,
            'model.decode_head.dropout_ratio': 0.0,
        }
    elif system == 'sccnet':
        pipeline = [
            dict(type='LoadEpisode'),
            dict(type='ResizeEpisode', size=64),
            dict(type='PackEpisode'),
        ]
        options |= iterations
        for split in splits:
            options |= {
                f'{split}_dataloader.dataset.list_dir': f'{data}/lists',
                f'{split}_dataloader.dataset.pipeline': pipeline,
            }
        options |= {'test_dataloader.dataset.indices': 5}
    elif system == 'oml':
        options |= epochs | {
            'model.encoder.model': 'test_resnet',
            'test_evaluator.at': [3],
            'test_evaluator.shared_at': [1],
            'test_evaluator.query_fraction': 0.5,
        }
    else:
        options |= epochs | {f'{split}_dataloader.dataset.split.expected': 40 for split in splits}
        options |= {
            'custom_hooks.1.dataloader.dataset.data_root': data,
            'test_evaluator.1.shared_at': [1],
            'model.encoder.model': 'test_resnet',
            'test_evaluator.1.at': [5],
            'model.losses.0.memory.size': 28,
        }
    return options


def system_config(system, data, batch=8):
    return load_config(DEMO / f'{CONFIGS[system]}.py', system_options(system, data, batch))


def run_systems(rank, data, folder, batch, launcher='pytorch', sharded=False):
    """Losses, weights and test figures of each system, on this process."""
    torch.set_num_threads(1)
    results = {}
    for system in CONFIGS:
        cfg = system_config(system, data[system], batch)
        cfg.load_from = f'{data[system]}/initial.pth'
        cfg.experiment_name = f'{system}{batch}{folder.name}'
        if sharded:
            cfg.merge_from_dict(load_config(FSDP, {'strategy.units': UNITS[system]})._cfg_dict)
        runner = build_runner(prepare(cfg, launcher, str(folder / system)))
        runner.train()
        losses = torch.tensor(runner.message_hub.get_scalar('train/loss').data[0])
        metrics = runner.test()
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        state = runner.strategy.model_state_dict() if sharded else model.state_dict()
        results[system] = dict(
            losses=losses,
            weights={k: v.clone() for k, v in state.items()},
            metrics={k: float(v) for k, v in metrics.items() if isinstance(v, (int, float))},
        )
    return results


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data')
    folders = {system: str(root / system) for system in CONFIGS}
    make_levir_cd(folders['dsqnet'], n_train=6, n_val=1, n_test=3, size=64)
    make_isaid_5i(folders['sccnet'], n_per_class=3, size=64)
    make_multilabel(folders['oml'], 'ucm', images=60, size=32)
    make_multilabel(folders['grn'], 'dfc15', images=40, size=32)
    for system, folder in folders.items():
        torch.manual_seed(1)
        model = build_model(system_config(system, folder))
        model.init_weights()
        torch.save(dict(state_dict=model.state_dict()), f'{folder}/initial.pth')
    return folders


@pytest.fixture(scope='module')
def one(data, tmp_path_factory):
    return run_systems(0, data, tmp_path_factory.mktemp('one'), 8, 'none')


@pytest.fixture(
    scope='module',
    params=[
        '2 processes',
        pytest.param('4 processes', marks=pytest.mark.slow),
        pytest.param('2 sharded', marks=pytest.mark.slow),
    ],
)
def several(request, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp('several')
    (folder / 'results').mkdir()
    world, kind = request.param.split()
    return run_processes(
        run_systems,
        folder / 'results',
        data,
        folder,
        8 // int(world),
        'pytorch',
        kind == 'sharded',
        world=int(world),
    )


@pytest.mark.parametrize('system', CONFIGS)
def test_processes_do_together_what_one_does(one, several, system):
    one, several = one[system], [run[system] for run in several]
    assert len(one['losses']) >= 3
    # the curve is the sharp test: a wrong gradient shows from the second step on; the weights have
    # drifted by what the steep terms of OML make of rounding
    torch.testing.assert_close(
        torch.stack([run['losses'] for run in several]).mean(0), one['losses'], rtol=1e-4, atol=1e-5
    )
    for name, value in one['weights'].items():
        for run in several:
            assert torch.equal(run['weights'][name], several[0]['weights'][name]), name
        torch.testing.assert_close(
            several[0]['weights'][name],
            value,
            rtol=1e-3,
            atol=1e-3,
            msg=lambda text, name=name: f'{name}: {text}',
        )
    assert one['metrics']
    for name, value in one['metrics'].items():
        for run in several:
            assert run['metrics'][name] == pytest.approx(value, rel=1e-3, abs=1e-3), name
