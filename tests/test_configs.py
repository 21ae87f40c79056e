"""Every config in the tree builds: its model, its pipelines, and all that stands around them.

Datasets and optimizers are not built (there is no data here), but every key they are given must be
one that their class takes.
"""

import copy
import inspect
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from rs_mm import registry
from rs_mm.build_errors import accepted_keys
from rs_mm.launch.config import _RUNNER_KEYS, apply_options, load_config

ROOT = Path(__file__).parents[1]
CONFIGS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / 'configs').rglob('*.py')
    if '_base_' not in path.parts
)
REQUIRED = {
    'default_scope',
    'default_hooks',
    'model',
    'test_dataloader',
    'test_evaluator',
    'test_cfg',
}
_built = set()


def check_keys(node, kind):
    """Each key of a config dict is one that its class takes."""
    cls = getattr(registry, kind).get(node['type'])
    assert cls is not None, f'unknown type {node["type"]}'
    if inspect.isclass(cls) and inspect.signature(cls.__init__):
        unknown = set(node) - {'type', '_scope_'} - set(accepted_keys(cls))
        assert not unknown, f'{node["type"]} takes no key {unknown}'


def check_dataset(node):
    check_keys(node, 'DATASETS')
    if 'pipeline' in node:
        Compose(node['pipeline'])
    if 'dataset' in node:
        check_dataset(node['dataset'])


def check_that_the_data_may_lie_elsewhere(cfg):
    """``--cfg-options data_root=DIR`` is what the docs say for every config."""
    moved = apply_options(copy.deepcopy(cfg), ['data_root=/elsewhere'])
    settings = {key: value for key, value in moved.items() if key in _RUNNER_KEYS}
    roots = list(data_roots(settings))
    assert roots and all(root.startswith('/elsewhere') for root in roots), roots


def data_roots(node):
    if isinstance(node, dict) and isinstance(node.get('data_root'), str):
        yield node['data_root']
    if isinstance(node, (dict, list, tuple)):
        for part in node.values() if isinstance(node, dict) else node:
            yield from data_roots(part)


def as_list(value):
    return value if isinstance(value, (list, tuple)) else [value]


@pytest.mark.parametrize('path', CONFIGS)
def test_config_builds(path):
    cfg = load_config(ROOT / path)
    assert set(cfg) >= REQUIRED, f'lacks {REQUIRED - set(cfg)}'
    check_that_the_data_may_lie_elsewhere(cfg)
    init_default_scope(cfg.default_scope)
    for name in ('train', 'val', 'test'):
        loader = cfg.get(f'{name}_dataloader')
        if loader is not None:
            check_dataset(loader.dataset)
            check_keys(loader.sampler, 'DATA_SAMPLERS')
    for name in ('val_evaluator', 'test_evaluator'):
        for evaluator in as_list(cfg.get(name) or []):
            registry.METRICS.build(evaluator)
    for hook in [*cfg.default_hooks.values(), *(cfg.get('custom_hooks') or [])]:
        if hook is not None:
            registry.HOOKS.build(hook)
    if 'optim_wrapper' in cfg:
        check_keys(cfg.optim_wrapper.optimizer, 'OPTIMIZERS')
    for scheduler in as_list(cfg.get('param_scheduler') or []):
        check_keys(
            {
                k: v
                for k, v in scheduler.items()
                if k not in ('convert_to_iter_based', 'epoch_length')
            },
            'PARAM_SCHEDULERS',
        )
    if 'visualizer' in cfg:
        check_keys(cfg.visualizer, 'VISUALIZERS')
    if 'tta_pipeline' in cfg:
        Compose(cfg.tta_pipeline)
    build_model_once(cfg)


def build_model_once(cfg):
    """Many configs differ in their data alone; a model of a kind is built once."""
    text = Config(dict(model=cfg.model)).dump()
    if text in _built or cfg.get('training_free'):  # the latter load weights as they are built
        return
    model = registry.MODELS.build(cfg.model)
    assert isinstance(model, torch.nn.Module)
    _built.add(text)


def test_no_machine_path_in_a_config():
    for path in (ROOT / 'configs').rglob('*.py'):
        text = path.read_text()
        assert "='/" not in text and '="/' not in text, f'{path} names an absolute path'
