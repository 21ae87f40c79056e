"""OML end to end on generated data: every kind of data set, training, testing, pictures."""

import json
from pathlib import Path

import pytest

from rs_mm.apis import test as run_test
from rs_mm.apis import train
from rs_mm.apis.features.pca import fit_pca
from rs_mm.datasets.bigearthnet.convert import convert
from rs_mm.datasets.bigearthnet.folders import open_source
from rs_mm.datasets.fake.bigearthnet import make_bigearthnet_v1, make_bigearthnet_v2
from rs_mm.datasets.fake.multilabel_images import make_multilabel
from rs_mm.datasets.label_tables import read_names
from rs_mm.errors import ConfigError

UCM = 'configs/demo/oml_r18_64_12e_fake_ucm.py'
BEN = 'configs/demo/oml_r18_120_8e_fake_bigearthnet.py'


def options(root, **more):
    loaders = {
        f'{mode}_dataloader.dataset.data_root': str(root) for mode in ('train', 'val', 'test')
    }
    return {
        **loaders,
        'model.encoder.model': 'test_resnet',
        'train_cfg.max_epochs': 1,
        'train_cfg.val_interval': 1,
        'default_hooks.checkpoint.interval': 1,
        **more,
    }


@pytest.fixture(scope='module')
def ucm(tmp_path_factory):
    root = tmp_path_factory.mktemp('ucm')
    make_multilabel(root, 'ucm', images=240, size=32)
    return root


@pytest.fixture(scope='module')
def trained(ucm, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('run')
    train(
        UCM,
        options(
            ucm,
            **{
                'train_cfg.max_epochs': 4,
                'train_cfg.val_interval': 2,
                'optim_wrapper.optimizer.lr': 2e-3,
                'default_hooks.checkpoint.save_best': 'retrieval/mAP_easy',
                'val_evaluator.at': [5],
                'val_evaluator.shared_at': [1],
            },
        ),
        work_dir=str(work_dir),
    )
    return work_dir


def small(**more):
    return {'test_evaluator.at': [5, 10], 'test_evaluator.shared_at': [1], **more}


def test_training_lowers_the_loss_and_raises_the_ranking(ucm, trained, tmp_path):
    log = next(trained.glob('*/vis_data/scalars.json')).read_text().splitlines()
    losses = [json.loads(line)['loss_bce'] for line in log if 'loss_bce' in line]
    assert losses[-1] < losses[0]
    assert list(trained.glob('best_*mAP_easy*.pth'))
    before = run_test(UCM, None, options(ucm, **small()), work_dir=str(tmp_path / 'a'))
    after = run_test(
        UCM,
        str(trained / 'epoch_4.pth'),
        options(ucm, **small()),
        work_dir=str(tmp_path / 'b'),
        show_dir=str(tmp_path / 'vis'),
    )
    assert after['retrieval/mAP_easy'] > before['retrieval/mAP_easy'] + 0.05
    assert 'retrieval/qe5/nDCG@10' in after
    assert len(list((tmp_path / 'vis').glob('*.png'))) == 9  # a fifth of 48 test images


def test_fitted_pca_is_used_in_a_test(ucm, trained, tmp_path):
    pca = fit_pca(
        UCM,
        str(trained / 'epoch_4.pth'),
        tmp_path / 'pca',
        dims=16,
        options=options(ucm),
        work_dir=str(tmp_path),
    )
    assert pca.projection.shape == (128, 16)
    config = tmp_path / 'pca.py'
    config.write_text(
        f"_base_ = '{Path(UCM).resolve()}'\n"
        f"test_evaluator = dict(pca=dict(path='{tmp_path / 'pca.npz'}'))\n"
    )
    result = run_test(
        str(config),
        str(trained / 'epoch_4.pth'),
        options(ucm, **small()),
        work_dir=str(tmp_path / 'run'),
    )
    assert result['retrieval/mAP_easy'] > 0.2
    with pytest.raises(ConfigError, match='embeddings that another weights made; fit it again'):
        run_test(
            str(config),
            str(trained / 'epoch_3.pth'),
            options(ucm, **small()),
            work_dir=str(tmp_path / 'run'),
        )


@pytest.mark.parametrize('version', [1, 2])
def test_bigearthnet(version, tmp_path):
    root = tmp_path / 'source'
    make = make_bigearthnet_v1 if version == 1 else make_bigearthnet_v2
    make(root, patches=60)
    lists = {path.stem: read_names(str(path)) for path in (tmp_path / 'splits').glob('*.csv')}
    convert(open_source(str(root), 'auto'), str(tmp_path / 'lmdb'), lists, workers=1)
    more = {
        f'{mode}_evaluator.{key}': value
        for mode in ('val', 'test')
        for key, value in dict(at=[1], shared_at=[1], query_fraction=0.5).items()
    }
    work_dir = tmp_path / 'run'
    train(BEN, options(tmp_path, **more), work_dir=str(work_dir))
    result = run_test(
        BEN,
        str(work_dir / 'epoch_1.pth'),
        options(tmp_path, **more),
        work_dir=str(work_dir),
        show_dir=str(tmp_path / 'vis'),
    )
    # of a dozen patches none may match a query at the published levels
    assert 0 <= result['retrieval/nDCG@1'] <= 1
    assert list((tmp_path / 'vis').glob('*.png'))
