"""GRN from configs on generated data: trains, scores above the untrained model, draws, resumes."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import ConfigDict

from rs_mm.apis import test as run_test
from rs_mm.apis import train
from rs_mm.checkpoint import load_file
from rs_mm.datasets.fake.multilabel_images import make_multilabel
from rs_mm.engine.hooks.feature_bank import FeatureBankHook, KNNReferenceHook, training_labels
from rs_mm.errors import CheckpointError, ConfigError, DataError
from rs_mm.launch.config import load_config
from rs_mm.models.memories import FeatureBank
from rs_mm.structures import EmbeddingDataSample

ROOT = Path(__file__).parents[2]
IMAGES, TRAINED = 120, 84
PREFIX = 'custom_hooks.1.dataloader.dataset.data_root'


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp('dfc15')
    make_multilabel(folder, 'dfc15', images=IMAGES, size=32)
    return str(folder)


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)  # steps this small are slower on several


def options(root, epochs=2, size=TRAINED, **more):
    """The demo config on fewer images."""
    result = {f'{split}_dataloader.dataset.data_root': root for split in ('train', 'val', 'test')}
    result |= {
        f'{split}_dataloader.dataset.split.expected': IMAGES for split in ('train', 'val', 'test')
    }
    result |= {f'{split}_dataloader.num_workers': 0 for split in ('train', 'val', 'test')}
    result |= {
        f'{split}_dataloader.persistent_workers': False for split in ('train', 'val', 'test')
    }
    return result | {
        PREFIX: root,
        'train_cfg.max_epochs': epochs,
        'train_cfg.val_interval': 1,
        'model.losses.0.memory.size': size,
        'test_evaluator.1.at': [5, 10],
        'default_hooks.visualization.num_queries': 3,
        **more,
    }


CONFIG = ROOT / 'configs/demo/grn_sndl-bce_demo.py'


def bank_of(checkpoint):
    state = load_file(checkpoint)['state_dict']
    return {key.rsplit('.', 1)[1]: value for key, value in state.items() if '.memory.' in key}


def test_trains_scores_draws_and_resumes(root, tmp_path):
    untrained = run_test(CONFIG, options=options(root), work_dir=str(tmp_path / 'untrained'))
    train(CONFIG, options(root, epochs=3), work_dir=str(tmp_path / 'whole'))
    trained = run_test(
        CONFIG,
        str(tmp_path / 'whole/epoch_3.pth'),
        options(root),
        work_dir=str(tmp_path / 'test'),
        show_dir=str(tmp_path / 'pictures'),
    )
    assert set(trained) >= {
        'knn/f1_sample',
        'knn/f1_macro',
        'knn/f1_micro',
        'knn/hamming_loss',
        'knn/mAP',
        'retrieval/mAP_hard',
    }
    assert trained['knn/mAP'] > untrained['knn/mAP']
    pictures = {path.name for path in (tmp_path / 'pictures').iterdir()}
    assert 'embedding_map.png' in pictures and len(pictures) > 2

    # the memory is that of the training set, and an interrupted run ends with the same one
    bank = bank_of(tmp_path / 'whole/epoch_3.pth')
    assert bank['labelled'] and bank['labels'].sum(1).min() > 0
    torch.testing.assert_close(bank['features'].norm(dim=1), torch.ones(TRAINED))
    train(CONFIG, options(root, epochs=1), work_dir=str(tmp_path / 'parts'))
    train(CONFIG, options(root, epochs=3), work_dir=str(tmp_path / 'parts'), resume='auto')
    torch.testing.assert_close(
        bank_of(tmp_path / 'parts/epoch_3.pth')['features'], bank['features'], rtol=0, atol=0
    )

    # KNN on the memory, as published
    published = run_test(
        CONFIG,
        str(tmp_path / 'whole/epoch_3.pth'),
        options(root) | {'custom_hooks.1.dataloader': None},
        work_dir=str(tmp_path / 'memory'),
    )
    assert published['knn/mAP'] == trained['knn/mAP']
    assert published['knn/f1_sample'] > 0.5

    with pytest.raises(
        CheckpointError,
        match=r'losses.0.memory.features` is \(84, 128\) there and '
        r'\(80, 128\) here',
    ):
        train(CONFIG, options(root, 3, size=80), work_dir=str(tmp_path / 'parts'), resume='auto')
    # a load that the tools do not check first
    with pytest.raises(CheckpointError, match='made for another training set'):
        _load_into(80, tmp_path / 'whole/epoch_3.pth')


def _load_into(size, checkpoint):
    from mmengine.runner import load_checkpoint

    model = torch.nn.ModuleDict(dict(memory=FeatureBank(size, 128, 8)))
    load_checkpoint(model, str(checkpoint), revise_keys=[(r'^losses\.0\.', '')])


def test_what_does_not_fit_is_named(root, tmp_path):
    with pytest.raises(
        ConfigError,
        match='built for 80 training images with 8 labels, but the '
        'training set has 84 with 8; set `size`',
    ):
        train(CONFIG, options(root, size=80), work_dir=str(tmp_path / 'a'))
    with pytest.raises(ConfigError, match='the memory has never been trained'):
        run_test(
            CONFIG,
            options=options(root) | {'custom_hooks.1.dataloader': None},
            work_dir=str(tmp_path / 'b'),
        )
    with pytest.raises(ConfigError, match='needs pairs .* ascending epochs from 0'):
        FeatureBankHook(momentum=[(3, 0.5)])


class _Samples(list):
    """A dataset of given infos."""

    def get_data_info(self, i):
        return self[i]


def test_training_labels_name_what_is_wrong():
    good = [dict(sample_idx=i, name=f'n{i}', gt_label=[i, 1]) for i in (1, 0)]
    assert training_labels(_Samples(good)).tolist() == [[0, 1], [1, 1]]
    assert training_labels(_Samples(good * 2)).tolist() == [[0, 1], [1, 1]]  # a repeated set
    with pytest.raises(DataError, match="training image 'n9' has no label"):
        training_labels(_Samples([dict(sample_idx=0, name='n9')]))
    with pytest.raises(DataError, match="sample_idx 1 names two training images, 'n1' and 'm'"):
        training_labels(_Samples([*good, dict(sample_idx=1, name='m', gt_label=[0, 0])]))
    with pytest.raises(DataError, match='are not 0 to 1'):
        training_labels(_Samples([good[0], dict(good[1], sample_idx=7)]))


class _Echo(torch.nn.Module):
    """A model that gives back its samples."""

    def test_step(self, batch):
        return batch


@pytest.mark.parametrize('keys', [('img_path', 'name'), ('name',)])
def test_images_of_a_concatenated_reference_are_all_searched(keys):
    def sample(part, index, value):
        meta = dict(img_path=f'{part}/{index}.png', name=f'{part}{index}')
        found = EmbeddingDataSample(
            metainfo=dict(sample_idx=index, **{key: meta[key] for key in keys})
        )
        found.embedding = torch.tensor([float(value)])
        return found.set_gt_label(torch.tensor([1.0]))

    hook = KNNReferenceHook(
        [[sample('a', 0, 1), sample('a', 1, 2)], [sample('b', 0, 3), sample('a', 0, 1)]]
    )  # one of them twice
    embeddings, labels = hook._embed(SimpleNamespace(model=_Echo()))
    assert embeddings.flatten().tolist() == [1, 3, 2] and len(labels) == 3


def test_momentum_follows_the_epochs():
    hook, bank = FeatureBankHook(), FeatureBank(2, 3, 1)
    runner = ConfigDict(epoch=0)
    runner['model'] = bank
    values = []
    for epoch in (0, 79, 80, 119, 120, 129):
        runner['epoch'] = epoch
        hook.before_train_epoch(runner)
        values.append(bank.momentum)
    assert values == [0.5, 0.5, 0.8, 0.8, 0.9, 0.9]


@pytest.mark.parametrize(
    'name',
    [
        'sndl_resnet18_256_130e_ucm',
        'sndl-bce_wrn50_256_130e_dfc15',
        'sndl-bce_inceptionv3_256_130e_aid',
    ],
)
def test_published_configs_hold_the_published_settings(name):
    cfg = load_config(ROOT / f'configs/grn/{name}.py')
    size, labels = dict(ucm=(1470, 17), aid=(2100, 17), dfc15=(2339, 8))[name.split('_')[-1]]
    sndl = cfg.model.losses[0]
    assert (sndl.temperature, sndl.get('margin', 0)) == (0.05, 0)
    assert (sndl.memory.size, sndl.memory.num_classes, sndl.memory.dim) == (size, labels, 128)
    assert cfg.optim_wrapper.optimizer == dict(
        type='SGD', lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4, fused=True
    )
    assert (cfg.param_scheduler.step_size, cfg.param_scheduler.gamma) == (30, 0.5)
    assert (cfg.train_cfg.max_epochs, cfg.train_dataloader.batch_size) == (130, 256)
    assert cfg.val_evaluator.k == 10
    bce = [loss.type for loss in cfg.model.losses[1:]]
    assert bce == (['MultiLabelBCELoss'] if 'bce' in name else [])
    assert cfg.model.head.get('num_classes') == (labels if 'bce' in name else None)
