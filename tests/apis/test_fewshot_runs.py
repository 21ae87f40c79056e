"""Few-shot runs from configs: training, resume, tests with 1 and 5 shots, fusion, pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rs_mm.apis import test as run_test
from rs_mm.apis import train
from rs_mm.datasets.fake import few_shot_scenes as fake

ROOT = Path(__file__).parents[2]
KINDS = dict(isaid=fake.make_isaid_5i, dlrsd=fake.make_dlrsd_5i, pascal=fake.make_pascal_5i)
SIZE = 64


@pytest.fixture(scope='module')
def roots(tmp_path_factory):
    """A fake data set of each kind."""
    made = {}
    for kind, make in KINDS.items():
        made[kind] = str(tmp_path_factory.mktemp(kind))
        make(made[kind], n_per_class=3, size=SIZE)
    return made


def _config(kind, tail=''):
    return ROOT / f'configs/sccnet/sccnet_resnet50_256_200k_{kind}_fold0{tail}.py'


def _options(root, iterations=2, **more):
    pipeline = [
        dict(type='LoadEpisode'),
        dict(type='ResizeEpisode', size=SIZE),
        dict(type='PackEpisode'),
    ]
    options = {
        'model.backbone.arch': 'resnet18',
        'model.backbone.init_cfg': None,
        'model.head.in_channels': (2, 2, 2),
        'train_cfg.max_iters': iterations,
        'train_cfg.val_interval': iterations,
        'default_hooks.checkpoint.interval': 1,
        'default_hooks.logger.interval': 1,
        'param_scheduler': [dict(type='CountedPolyLR', end=50)],
    }
    for part in ('train', 'val', 'test'):
        options.update(
            {
                f'{part}_dataloader.{key}': value
                for key, value in dict(
                    num_workers=0, persistent_workers=False, batch_size=2
                ).items()
            }
        )
        options.update(
            {
                f'{part}_dataloader.dataset.{key}': value
                for key, value in dict(
                    data_root=root, list_dir=f'{root}/lists', pipeline=pipeline
                ).items()
            }
        )
    for part in ('val', 'test'):
        options[f'{part}_dataloader.dataset.indices'] = 4
    return {**options, **more}


@pytest.mark.parametrize('kind', ['isaid', 'dlrsd', pytest.param('pascal', marks=pytest.mark.slow)])
def test_train_and_test(roots, kind, tmp_path):
    root = roots[kind]
    runner = train(_config(kind), _options(root), work_dir=str(tmp_path / 'work'))
    best = list((tmp_path / 'work').glob('best_mIoU*.pth'))
    assert len(best) == 1
    # two iterations and two batches of validation count as four steps
    assert runner.param_schedulers[0].last_step == 4
    scores = []
    for shots in (1, 5) if kind != 'pascal' else (1,):
        options = _options(root, **{'test_dataloader.dataset.shots': shots})
        folder = tmp_path / f'show{shots}'
        scores.append(
            run_test(
                _config(kind), str(best[0]), options, work_dir=str(tmp_path), show_dir=str(folder)
            )
        )
        pictures = sorted(folder.glob('*.png'))
        assert len(pictures) == 4
        assert np.asarray(Image.open(pictures[0])).std() > 10
    for score in scores:
        assert set(score) == {'mIoU', 'FB-IoU'} and 0 <= score['mIoU'] <= 100


@pytest.mark.parametrize('mode', ['fuse', pytest.param('perfect', marks=pytest.mark.slow)])
def test_fusion_on_the_fly(roots, mode, tmp_path):
    post = 'model.post_processor.'
    options = _options(
        roots['isaid'],
        **{
            f'{post}eig_dir': str(tmp_path / 'eig'),
            f'{post}decomposition.arch': 'resnet18',
            f'{post}decomposition.checkpoint': None,
        },
    )
    first = run_test(_config('isaid', f'_{mode}'), None, options, work_dir=str(tmp_path / 'work'))
    assert 0 <= first['mIoU'] <= 100
    assert json.loads((tmp_path / 'eig/spectral.json').read_text())['num_vectors'] == 5
    assert 1 <= len(list((tmp_path / 'eig').glob('*.npy'))) <= 4


def test_resume_equals_an_uninterrupted_run(roots, tmp_path):
    def run(name, iterations, **more):
        # the schedule of validation is left out: it would stop at different places
        options = _options(
            roots['isaid'],
            iterations,
            **{
                'train_cfg.val_interval': 100,
                'custom_hooks': None,
                'val_cfg': None,
                'val_dataloader': None,
                'val_evaluator': None,
                'default_hooks.checkpoint.save_best': None,
            },
        )
        return train(_config('isaid'), options, work_dir=str(tmp_path / name), **more)

    whole = run('whole', 3)
    run('parts', 2)
    parts = run('parts', 3, resume='auto')
    assert parts.param_schedulers[0].last_step == whole.param_schedulers[0].last_step == 3
    for (name, a), (_, b) in zip(
        whole.model.state_dict().items(), parts.model.state_dict().items()
    ):
        assert torch.equal(a, b), name


def test_learns(roots):
    """The loss of fixed episodes falls; the demo config measures what held-out classes gain."""
    from rs_mm.datasets import ISAID5iDataset
    from rs_mm.registry import MODELS

    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='rs_mm.FewShotSegmentor',
            backbone=dict(type='rs_mm.PreActivationBackbone', arch='resnet18'),
            head=dict(type='rs_mm.SelfCrossCorrelationHead', in_channels=(2, 2, 2)),
            data_preprocessor=dict(type='rs_mm.FewShotDataPreprocessor'),
        )
    ).train()
    dataset = ISAID5iDataset(
        roots['isaid'],
        0,
        'trn',
        list_dir=f'{roots["isaid"]}/lists',
        pipeline=[dict(type='LoadEpisode'), dict(type='PackEpisode')],
    )
    np.random.seed(0)
    items = [dataset[i] for i in range(4)]
    data = model.data_preprocessor(
        dict(
            inputs={k: [i['inputs'][k] for i in items] for k in ('query', 'support')},
            data_samples=[i['data_samples'] for i in items],
        )
    )
    optimizer = torch.optim.SGD(model.head.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for _ in range(8):
        loss = sum(model(**data, mode='loss').values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.95 * losses[0]


def test_real_scenes(samples, tmp_path):
    """Whole scenes of iSAID become patches, and a published list's episodes run on them."""
    from rs_mm.datasets.episodes import PACKED, read_entries
    from tools.dataset_converters.isaid_patches import convert

    convert(str(samples / 'isaid'), str(tmp_path), ['val'], True, 1)
    folder = tmp_path / 'lists' / 'val'
    folder.mkdir(parents=True)
    lines = [
        f'{name}__{label + 1:02d}\n'
        for name, label in read_entries(PACKED / 'isaid/val/fold1.txt.gz')
        if name.startswith('P0003_')
    ]
    (folder / 'fold1.txt').write_text(''.join(lines))
    options = _options(
        str(tmp_path), **{'test_dataloader.dataset.fold': 1, 'test_dataloader.dataset.shots': 2}
    )
    metrics = run_test(
        _config('isaid'),
        None,
        options,
        work_dir=str(tmp_path / 'work'),
        show_dir=str(tmp_path / 'show'),
    )
    assert len(lines) == 5 and len(list((tmp_path / 'show').glob('*large_vehicle.png'))) == 4
    assert 0 <= metrics['mIoU'] <= 20  # one of five classes occurs
