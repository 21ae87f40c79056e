"""What goes wrong while a config is assembled is one sentence; defects keep their traceback."""

import builtins
import re

import pytest
import torch
from mmcv.cnn import build_norm_layer
from mmengine import registry as roots
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import OPTIMIZERS

from rs_mm import build_errors, registry
from rs_mm.apis import train
from rs_mm.launch.command_line import user_message
from rs_mm.launch.config import build_runner, prepare
from rs_mm.registry import MODELS
from tests.launch.test_config import message_of
from tests.toy import ToyModel, toy_config


@MODELS.register_module()
class ToyModelOfFour(ToyModel):
    def __init__(self, **kwargs):
        super().__init__(width=4, **kwargs)


@MODELS.register_module()
class ToyDefect(ToyModel):
    def __init__(self, defect, **kwargs):
        super().__init__(**kwargs)
        self.defect = getattr(builtins, defect)
        if self.defect is NameError:
            raise NameError('a defect')

    def forward(self, *args, **kwargs):
        raise self.defect('a defect')


def run(tmp_path, **over):
    build_runner(prepare(Config(toy_config(tmp_path, **over)))).train()


def test_unknown_optimizer(tmp_path):
    path = tmp_path / 'toy.py'
    Config(toy_config(tmp_path / 'run')).dump(path)
    message = message_of(lambda: train(path, {'optim_wrapper.optimizer.type': 'Adamw'}))
    assert message.startswith("type='Adamw' is not a known optimizer; did you mean 'AdamW'")


def test_unknown_layer(tmp_path):
    model = dict(type='mmseg.ResNet', depth=18, norm_cfg=dict(type='SyncBNN'))
    message = message_of(lambda: run(tmp_path, model=model))
    assert message.startswith("type='SyncBNN' is not a known model; did you mean 'SyncBN'")


@pytest.mark.parametrize(
    'name', [name for name in dir(registry) if name.isupper() and name[0] != '_']
)
def test_close_matches_in_every_registry(name):
    """A child's name must be its parent's, by which the message finds what is known."""
    root, child = getattr(roots, name), getattr(registry, name)
    child.import_from_location()
    entry = next(iter([*root.module_dict, *child.module_dict]), None)
    if entry:
        wrong = Config({'runner_type' if name == 'RUNNERS' else 'type': entry[:-1] + entry[-1] * 3})
        message = message_of(lambda: child.build(wrong))
        assert 'did you mean' in message and f"'{entry}'" in message


@pytest.mark.parametrize(
    'over, place, words',
    [
        (dict(batch_size=0), '`train_dataloader`', 'batch_size=0'),
        (dict(workers='x'), '`train_dataloader`', "'str' and 'int'"),
        (
            dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr='abc'))),
            "`optim_wrapper`, type='SGD'",
            'not supported between',
        ),
        (dict(model=dict(type='ToyModel', width=-4)), "`model`, type='ToyModel'", 'negative'),
        (dict(custom_hooks=[1]), '`custom_hooks`', 'Hook or dict'),
    ],
)
def test_a_value_that_cannot_be_built_with(tmp_path, over, place, words):
    message = message_of(lambda: run(tmp_path, **over))
    assert message.startswith(f'{place} cannot be built with the values it has: ')
    assert words in message and 'RS_MM_TRACEBACK=1' in message


@pytest.mark.parametrize(
    'defect', ['TypeError', 'ValueError', 'RuntimeError', 'IndexError', 'NameError']
)
def test_a_defect_keeps_its_traceback(tmp_path, defect):
    with pytest.raises(getattr(builtins, defect)) as caught:
        run(tmp_path, model=dict(type='ToyDefect', defect=defect))
    assert user_message(caught.value) is None


def test_a_key_that_the_class_sets_itself(tmp_path):
    message = message_of(lambda: run(tmp_path, model=dict(type='ToyModelOfFour', width=3)))
    assert message == "type='ToyModelOfFour' sets `width` itself: leave it out."


def test_the_keys_of_a_derived_class(tmp_path):
    message = message_of(lambda: run(tmp_path, model=dict(type='ToyModelOfFour', dropuot=3)))
    assert message == (
        "type='ToyModelOfFour' takes no key `dropuot`; did you mean 'dropout'?. It "
        'takes: dropout, data_preprocessor, init_cfg.'
    )


def test_a_missing_key():
    assert '`model`' in message_of(lambda: Config({}).model)
    assert '`pipeline`' in message_of(lambda: Config(dict(a=dict(b=1))).a.pipeline)


def test_a_key_of_the_checkpoint_hook_is_checked_at_once(tmp_path):
    hooks = dict(checkpoint=dict(type='CheckpointHook', intervall=2))
    message = message_of(lambda: build_runner(Config(toy_config(tmp_path, default_hooks=hooks))))
    assert message == "type='CheckpointHook' takes no key `intervall`; did you mean 'interval'?"


class TakesOneKey:
    def __init__(self, needed):
        self.needed = needed


def _message(action):
    with pytest.raises(Exception) as caught:
        action()
    return str(caught.value.args[0])


@pytest.mark.parametrize(
    'pattern, action',
    [
        ('_UNKNOWN_TYPE', lambda: MODELS.build(dict(type='NothingOfOurs'))),
        ('_UNKNOWN_LAYER', lambda: build_norm_layer(dict(type='NothingOfOurs'), 4)),
        ('_UNKNOWN_KEY', lambda: TakesOneKey(needed=1, other=2)),
        ('_FIXED_KEY', lambda: TakesOneKey(1, needed=2)),
        ('_MISSING_KEY', lambda: TakesOneKey()),
        ('_NO_SUCH_KEY', lambda: Config(dict(a=1)).b),
    ],
)
def test_the_messages_of_the_libraries_are_those_that_are_read(pattern, action):
    message = _message(action)
    assert getattr(build_errors, pattern).match(message), (
        f'{pattern} no longer reads {message!r}; it was written for {build_errors.WRITTEN_FOR}'
    )


@pytest.mark.parametrize(
    'code, words',
    [
        ('import a_lacking_package', r"'beside_us' fails to import \(No module named 'a_lacking_"),
        ('assert 1 > 2, "too new"', r"'beside_us' fails to import \(AssertionError: too new\)"),
    ],
)
def test_a_package_that_fails_to_import_is_the_cause(tmp_path, monkeypatch, code, words):
    """mmengine passes over it and says that the class is not known."""
    (tmp_path / 'beside_us').mkdir()
    (tmp_path / 'beside_us/__init__.py').write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    message = message_of(lambda: MODELS.build(dict(type='beside_us.Net')))
    assert re.search(words, message)
    message = message_of(lambda: MODELS.build(dict(type='not_there.Net')))
    assert "there is no package 'not_there'" in message


def test_a_location_of_a_registry_that_fails_to_import_is_the_cause(tmp_path, monkeypatch):
    (tmp_path / 'beside_too').mkdir()
    (tmp_path / 'beside_too/__init__.py').write_text('')
    (tmp_path / 'beside_too/registry.py').write_text(
        'from mmengine.registry import MODELS as ROOT, Registry\n'
        "MODELS = Registry('model', parent=ROOT, locations=['beside_too.parts'])\n"
    )
    (tmp_path / 'beside_too/parts.py').write_text('import a_lacking_package')
    monkeypatch.syspath_prepend(str(tmp_path))
    message = message_of(lambda: MODELS.build(dict(type='beside_too.Net')))
    assert "'beside_too' fails to import (No module named 'a_lacking_package')" in message
    assert "install 'a_lacking_package'" in message


def test_an_optimizer_whose_package_is_missing_is_named():
    if 'Lion' in OPTIMIZERS:
        pytest.skip('lion-pytorch is installed')
    config = dict(type='OptimWrapper', optimizer=dict(type='Lion', lr=0.1))
    message = message_of(lambda: build_optim_wrapper(torch.nn.Linear(1, 1), config))
    assert 'pip install lion-pytorch' in message
