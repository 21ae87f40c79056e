"""Converters of the original OML code's checkpoints and YAML configs."""

import subprocess
import sys

import pytest
import torch

from rs_mm.checkpoint import read_state_dict
from rs_mm.converters.oml_config import convert_yaml
from rs_mm.errors import ConfigError, MissingFileError
from rs_mm.launch.config import load_config
from rs_mm.registry import MODELS
from tests.parity import fill_state, load_case

YAML = """
mode: test
data:
  dataset: BigEarthNet
  num_classes: 19
  channels: 10
  batch_size: 300
  image_size: 120
model:
  backbone: se_resnet50
  output_stride: 16
  module: cbam
  pooling: gem
  parts: [[1, 1, 1], [1, 2, 2]]
  part_dim: 64
  pretrained: False
train:
  lr: 1e-4
  optimizer: SGD
  epochs: 40
  id_loss: ml_xent
  metric_loss: smoothap
  loss_weight: [0.5, 2]
  colour: blue
seed: 24
chunk: 500
"""


@pytest.mark.parametrize('wrapped', [False, True])
def test_checkpoint(tmp_path, wrapped):
    manifest, _ = load_case('oml', 'model_options')
    shapes = manifest['parameters']
    shapes = {**shapes['r18_max'], **shapes['r18_cbam_head_only']}
    state = fill_state(shapes)
    prefix = 'module.' if wrapped else ''
    saved = {prefix + key: value for key, value in state.items()}
    torch.save(dict(epoch=3, state_dict=saved), tmp_path / 'epoch_3.pth')
    out = subprocess.run(
        [
            sys.executable,
            'tools/model_converters/oml.py',
            str(tmp_path / 'epoch_3.pth'),
            str(tmp_path / 'out.pth'),
        ],
        capture_output=True,
        text=True,
    )
    assert out.returncode == 0, out.stderr
    assert '0 dropped' in out.stdout
    model = MODELS.build(
        dict(
            type='ImageEmbedder',
            encoder=dict(type='TimmEncoder', model='resnet18'),
            neck=dict(type='CBAM'),
            head=dict(type='EmbeddingHead', num_classes=19),
        )
    )
    model.load_state_dict(read_state_dict(tmp_path / 'out.pth'))


def test_yaml(tmp_path):
    (tmp_path / '_base_').mkdir()
    source, target = tmp_path / 'ben.yaml', tmp_path / 'oml/ben.py'
    source.write_text(YAML)
    report = '\n'.join(convert_yaml(source, target))
    assert 'smoothap does not exist' in report and 'left out: colour' in report
    # the bases are those of the tree
    text = target.read_text().replace('../_base_', f'{_root()}/configs/_base_')
    target.write_text(text)
    cfg = load_config(target)
    assert cfg.model.encoder == dict(
        type='TimmEncoder',
        in_channels=10,
        model='legacy_seresnet50',
        output_stride=16,
        dilate='first',
    )
    assert cfg.model.head.type == 'PartHead' and cfg.model.head.pool.mode == 'gem'
    assert [loss.type for loss in cfg.model.losses] == ['MultiLabelBCELoss', 'OMLLoss']
    assert [loss.loss_weight for loss in cfg.model.losses] == [0.5, 2.0]
    optimizer = cfg.optim_wrapper.optimizer
    assert optimizer.type == 'SGD' and optimizer.lr == 1e-4 and optimizer.momentum == 0.9
    assert cfg.train_cfg.max_epochs == 40 and cfg.test_evaluator.mean_chunk == 500
    assert cfg.train_dataloader.batch_size == 300
    assert 'bands' in cfg.train_dataloader.dataset.pipeline[0]
    MODELS.build(cfg.model)


def _root():
    from pathlib import Path

    return Path(__file__).parents[2].as_posix()


@pytest.mark.parametrize(
    'old, new, message',
    [
        ('se_resnet50', 'resnet7', "backbone 'resnet7' is none"),
        ('metric_loss: smoothap', 'metric_loss: arcface', "metric_loss is 'arcface'"),
        ('dataset: BigEarthNet', 'dataset: Pets', "dataset 'Pets' is unknown"),
        ('module: cbam', 'module: se', "module is 'se'"),
        ('chunk: 500', 'scheme: db', "scheme 'db' does not exist"),
        ('seed: 24', 'seed: [', 'is not valid YAML'),
        ('SGD', 'lamb', "optimizer is 'lamb'"),
    ],
)
def test_bad_yaml(tmp_path, old, new, message):
    (tmp_path / '_base_').mkdir()
    (tmp_path / 'a.yaml').write_text(YAML.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        convert_yaml(tmp_path / 'a.yaml', tmp_path / 'a.py')


def test_missing_yaml(tmp_path):
    with pytest.raises(MissingFileError, match='none.yaml'):
        convert_yaml(tmp_path / 'none.yaml', tmp_path / 'a.py')
