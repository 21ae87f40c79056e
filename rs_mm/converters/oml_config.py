"""Conversion of YAML files of the original OML code to configs of rs_mm."""

from __future__ import annotations

import os
import pprint
from pathlib import Path

import yaml

from rs_mm.converters.oml import published_encoder
from rs_mm.errors import ConfigError, MissingFileError
from rs_mm.files import atomic_write

# setting -> its possible names in the YAML, at any level, in lower case
_NAMES = {
    'dataset': ('dataset', 'dataset_name', 'data_name', 'name'),
    'backbone': ('backbone', 'arch', 'architecture'),
    'output_stride': ('output_stride', 'os', 'out_stride'),
    'module': ('module', 'attention', 'attention_module'),
    'pooling': ('pooling', 'pool'),
    'parts': ('parts', 'splits'),
    'part_dim': ('part_dim', 'part_dims', 'embed_dim'),
    'num_classes': ('num_classes', 'n_classes', 'classes'),
    'channels': ('channels', 'in_channels', 'num_channels', 'n_channels'),
    'pretrained': ('pretrained',),
    'id_loss': ('id_loss', 'class_loss'),
    'metric_loss': ('metric_loss', 'loss', 'ret_loss', 'retrieval_loss'),
    'loss_weight': ('loss_weight', 'loss_weights'),
    'margin': ('margin',),
    'sim_threshold': ('sim_threshold', 'threshold'),
    'optimizer': ('optimizer', 'optim'),
    'lr': ('lr', 'learning_rate', 'base_lr'),
    'weight_decay': ('weight_decay', 'wd'),
    'epochs': ('epochs', 'num_epochs', 'max_epochs', 'n_epochs', 'epoch'),
    'batch': ('batch_size', 'train_batch', 'train_batch_size', 'batch'),
    'interval': (
        'checkpoint_every',
        'save_every',
        'save_interval',
        'checkpoint_interval',
        'save_epoch',
        'checkpoint',
    ),
    'chunk': ('chunk', 'chunk_size'),
    'seed': ('seed',),
    'use_transform': ('use_transform',),
    'scheme': ('scheme', 'rerank', 'reranking'),
    'k': ('k',),
    'alpha': ('alpha',),
}
# settings without effect in the original, or for its folders
_WITHOUT_EFFECT = {
    'update_iter',
    'multi_scale',
    'image_size',
    'mode',
    'experiment',
    'ks',
    'kc',
    'graph',
    'gpu',
    'workers',
    'num_workers',
    'test_batch',
    'test_batch_size',
    'momentum',
    'ckpt_dir',
    'log_dir',
    'save_dir',
    'data_dir',
    'root',
    'path',
    'mean',
    'std',
}
_DATASETS = {'ucm': 'ucm_ml', 'ucmerced': 'ucm_ml', 'aid': 'aid_ml', 'whdld': 'whdld_ml'}
_BIGEARTHNET = {3: 'bigearthnet_rgb_ml', 10: 'bigearthnet_10band_ml', 12: 'bigearthnet_12band_ml'}
_METRIC = {
    'oml': 'OMLLoss',
    'contrastive_avg': 'ContrastiveAverageLoss',
    'triplet_avg': 'TripletAverageLoss',
    'triplet_hard': 'TripletHardLoss',
}
_NO_SUCH_LOSS = ('proxy_ap', 'smoothap')
_CLASSIFY = {'ml_xent': 'MultiLabelBCELoss', 'xent': 'LabelCrossEntropyLoss'}
_NECKS = {'cbam': 'CBAM', 'da': 'DualAttention'}
_RERANK = {'qe': 'AverageQE', 'aqe': 'AlphaQE', 'ja': 'LabelAffinity'}
_HEADER = '# Converted from {source}, a config of the original OML code.\n'


def convert_yaml(src: str | Path, dst: str | Path) -> list[str]:
    """Converts a file; the new config inherits the dataset and the schedule.

    Args:
        src: YAML file of the original code.
        dst: config to write, below a folder that has ``_base_``.

    Returns:
        Lines about written, changed and unknown settings.

    Raises:
        MissingFileError, ConfigError: the file does not exist, or a setting has no counterpart.
    """
    if not Path(src).is_file():
        raise MissingFileError(f'there is no file {src}.')
    try:
        raw = yaml.safe_load(Path(src).read_text())
    except yaml.YAMLError as error:
        raise ConfigError(f'{src} is not valid YAML: {" ".join(str(error).split())}') from error
    if not isinstance(raw, dict):
        raise ConfigError(f'{src} holds no settings (names and values).')
    settings, unknown = collect(raw)
    base, config, notes = convert_settings(settings)
    folder = _base_folder(Path(dst))
    lines = [_HEADER.format(source=Path(src).name), '_base_ = [']
    lines += [f"    '{folder}/{path}',\n" for path in base]
    text = lines[0] + lines[1] + '\n' + ''.join(lines[2:]) + ']\n\n'
    for key, value in config.items():
        text += f'{key} = {pprint.pformat(value, width=96, sort_dicts=False)}\n'
    with atomic_write(dst, 'w', encoding='utf-8') as file:
        file.write(text)
    report = [f'{dst}: {len(settings)} settings converted', *notes]
    if unknown:
        report.append('not understood and left out: ' + ', '.join(sorted(unknown)))
    return report


def collect(raw: dict) -> tuple[dict, set[str]]:
    """Returns settings by the names of rs_mm from a nested dict, and unknown names."""
    settings, unknown = {}, set()

    def walk(node):
        for key, value in node.items():
            name = str(key).lower()
            if isinstance(value, dict):
                walk(value)
                continue
            found = next((ours for ours, names in _NAMES.items() if name in names), None)
            if found is not None and found not in settings:
                settings[found] = value
            elif found is None and name not in _WITHOUT_EFFECT:
                unknown.add(str(key))

    walk(raw)
    return settings, unknown


def convert_settings(settings: dict) -> tuple[list[str], dict, list[str]]:
    """Returns bases, config and remarks for settings with the names of rs_mm."""
    notes = []
    if 'dataset' not in settings or 'backbone' not in settings:
        raise ConfigError(
            'the YAML names no dataset or no backbone; is it a config of the original OML code?'
        )
    name = str(settings['dataset']).lower().replace('-', '')
    channels = int(settings.get('channels', 3))
    big = name in ('bigearthnet', 'ben')
    if big and channels not in _BIGEARTHNET:
        raise ConfigError(f'channels is {channels}; BigEarthNet has 3, 10 or 12 here.')
    if not big and name not in _DATASETS:
        raise ConfigError(
            f'dataset {settings["dataset"]!r} is unknown; use UCM, AID, WHDLD or BigEarthNet.'
        )
    data = _BIGEARTHNET[channels] if big else _DATASETS[name]
    config = dict(model=_model(settings, channels, notes))
    optimizer = _optimizer(settings)
    config['optim_wrapper'] = dict(type='OptimWrapper', optimizer=optimizer)
    if 'epochs' in settings:
        config['train_cfg'] = dict(max_epochs=int(settings['epochs']))
    if 'interval' in settings:
        config['default_hooks'] = dict(checkpoint=dict(interval=int(settings['interval'])))
    if 'seed' in settings:
        config['randomness'] = dict(seed=int(settings['seed']))
    if 'batch' in settings:
        for mode in ('train', 'val', 'test'):
            config[f'{mode}_dataloader'] = dict(batch_size=int(settings['batch']))
    evaluator = _evaluator(settings, big)
    if evaluator:
        config['val_evaluator'] = {k: v for k, v in evaluator.items() if k != 'rerank'}
        config['test_evaluator'] = evaluator
    if big and settings.get('use_transform'):
        notes.append('use_transform is on: add the augmentations to train_dataloader yourself')
    return [f'datasets/{data}.py', 'schedules/oml_adam.py'], config, notes


def _model(settings, channels, notes):
    encoder = published_encoder(
        str(settings['backbone']), channels, int(settings.get('output_stride', 32))
    )
    if settings.get('pretrained'):
        encoder['init_cfg'] = dict(type='Pretrained', checkpoint='timm')
        notes.append(
            'pretrained: weights of timm are taken; set encoder.init_cfg.checkpoint to '
            'a file for others'
        )
    parts = settings.get('parts') or [[1, 1, 1]]
    pool = dict(type='GlobalPool', mode=str(settings.get('pooling', 'max')).lower())
    head = dict(type='EmbeddingHead', num_classes=int(settings['num_classes']), pool=pool)
    if [list(part) for part in parts] != [[1, 1, 1]]:
        head.update(
            type='PartHead',
            part_dims=int(settings.get('part_dim', 256)),
            splits=parts,
            skip_missing_parts=True,
        )
    model = dict(type='ImageEmbedder', encoder=encoder, head=head)
    module = _text(settings.get('module'))
    if module:
        if module not in _NECKS:
            raise ConfigError(f'module is {module!r}; use none, cbam or da.')
        model['neck'] = dict(type=_NECKS[module])
    model['losses'] = _losses(settings, notes)
    return model


def _losses(settings, notes):
    weights = list(settings.get('loss_weight') or (1, 1))
    losses = []
    classify, metric = _text(settings.get('id_loss')), _text(settings.get('metric_loss'))
    if classify:
        if classify not in _CLASSIFY:
            raise ConfigError(f'id_loss is {classify!r}; use none, xent or ml_xent.')
        losses.append(dict(type=_CLASSIFY[classify], loss_weight=float(weights[0])))
    if metric in _NO_SUCH_LOSS:
        notes.append(f'{metric} does not exist in the original code; OML is taken')
        metric = 'oml'
    if metric:
        if metric not in _METRIC:
            raise ConfigError(f'metric_loss is {metric!r}; use none, {", ".join(_METRIC)}.')
        loss = dict(type=_METRIC[metric], loss_weight=float(weights[-1]))
        if metric != 'oml' and 'margin' in settings:
            loss['margin'] = float(settings['margin'])
        if metric == 'triplet_hard' and 'sim_threshold' in settings:
            loss['threshold'] = float(settings['sim_threshold'])
        losses.append(loss)
    if not losses:
        raise ConfigError('id_loss and metric_loss are both none; training needs one.')
    return losses


def _optimizer(settings):
    name = str(settings.get('optimizer', 'adam')).lower()
    if name not in ('adam', 'sgd'):
        raise ConfigError(f'optimizer is {name!r}; the original has adam and sgd.')
    # YAML reads 1e-4 as text
    optimizer = dict(
        type='Adam' if name == 'adam' else 'SGD',
        lr=float(settings.get('lr', 1e-4)),
        weight_decay=float(settings.get('weight_decay') or 0),
    )
    if name == 'sgd':
        optimizer['momentum'] = 0.9
    return dict(_delete_=True, **optimizer)


def _evaluator(settings, big):
    evaluator = {}
    if 'chunk' in settings:
        evaluator['mean_chunk' if big else 'chunk_size'] = int(settings['chunk'])
    if 'seed' in settings:
        evaluator['seed'] = int(settings['seed'])
    scheme = _text(settings.get('scheme'))
    if scheme:
        if scheme not in _RERANK:
            raise ConfigError(f're-ranking scheme {scheme!r} does not exist; use qe, aqe or ja.')
        reranker = dict(type=_RERANK[scheme])
        if scheme != 'ja' and 'k' in settings:
            reranker['k'] = int(settings['k'])
        if scheme == 'aqe' and 'alpha' in settings:
            reranker['alpha'] = float(settings['alpha'])
        if scheme == 'ja' and big:
            reranker['precision'] = 'single'
        evaluator['rerank'] = [reranker]
    return evaluator


def _text(value):
    """Returns a name in lower case; None for None, an empty text and the word none."""
    value = '' if value is None else str(value).strip().lower()
    return None if value in ('', 'none', 'null', 'false') else value


def _base_folder(dst):
    for folder in dst.resolve().parents:
        if (folder / '_base_').is_dir():
            return Path(os.path.relpath(folder / '_base_', dst.resolve().parent)).as_posix()
    raise ConfigError(f'{dst}: no folder above it has a _base_; write it below configs/.')
