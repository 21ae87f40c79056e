"""Wrong configs, options and checkpoints end in one sentence with the key or file."""

import re
import sys

import pytest
import torch
from mmengine.config import Config

from rs_mm.apis import test as run_test
from rs_mm.apis.training import train
from rs_mm.checkpoint import save_converted
from rs_mm.errors import CheckpointError, ConfigError, DataError, MissingFileError
from rs_mm.launch.checkpoint_fit import check_checkpoint, check_start
from rs_mm.launch.command_line import run_cli, user_message
from rs_mm.launch.config import build_runner, load_config, parse_options, prepare
from rs_mm.launch.work_dir import newest_checkpoint
from tests.toy import ToyModel, toy_config


@pytest.fixture
def config_file(tmp_path):
    path = tmp_path / 'toy.py'
    Config(toy_config(tmp_path / 'run')).dump(path)
    return path


def message_of(action):
    with pytest.raises(Exception) as caught:
        action()
    message = user_message(caught.value)
    assert message is not None and '\n' not in message, caught.value
    return message


def test_missing_config_suggests_a_neighbour(config_file):
    with pytest.raises(MissingFileError, match=r"there is no config .*tooy.py; did you mean 'toy"):
        load_config(config_file.with_name('tooy.py'))


def test_syntax_error_names_the_line(tmp_path):
    path = tmp_path / 'bad.py'
    path.write_text('a = 1\nb = (\n')
    with pytest.raises(ConfigError, match='bad.py, line 2'):
        load_config(path)


@pytest.mark.parametrize(
    'name, text, words',
    [
        ('a.py', b'a = 1 / 0', 'a.py cannot be read: ZeroDivisionError: division by zero'),
        ('a.py', b'\xe2\x28', 'a.py cannot be read: UnicodeDecodeError'),
        ('a.py', b'_base_ = "gone.py"', 'a.py inherits .*gone.py, which does not exist'),
        ('a.yaml', b'# nothing', 'a.yaml holds no settings'),
        ('a.txt', b'model: 1', 'a.txt is not a config: configs are .py'),
    ],
)
def test_files_that_are_no_config(tmp_path, name, text, words):
    (tmp_path / name).write_bytes(text)
    with pytest.raises(ConfigError, match=words):
        load_config(tmp_path / name)


def test_a_folder_is_no_config(tmp_path):
    (tmp_path / 'dir.py').mkdir()
    with pytest.raises(ConfigError, match='dir.py is a folder'):
        load_config(tmp_path / 'dir.py')


def test_a_config_without_a_model(tmp_path):
    with pytest.raises(ConfigError, match='the config has no `model`'):
        build_runner(prepare(Config(dict(work_dir=str(tmp_path)))))


@pytest.mark.parametrize('value', ["[dict(type='EMAHook',momentum=1)]", '[1,2'])
def test_options_cannot_write_dicts(value):
    with pytest.raises(ConfigError, match=r'custom_hooks=\[.*key.* as custom_hooks.NAME=VALUE'):
        parse_options([f'custom_hooks={value}'])


@pytest.mark.parametrize(
    'option, words',
    [
        (
            'train_dataloadr.batch_size=2',
            "no key `train_dataloadr`; did you mean 'train_dataloader'",
        ),
        ('train_dataloader.batchsize=2', "no key `batchsize`; did you mean 'batch_size'"),
        ('param_scheduler.3.end=2', 'is a list of 1'),
        ('train_cfg', 'write KEY=VALUE'),
        ('log_level.x.y=1', 'has no keys'),
        ('val_cfg.x=1', 'val_cfg'),
    ],
)
def test_options_that_name_nothing(config_file, option, words):
    with pytest.raises(ConfigError, match='--cfg-options') as caught:
        load_config(config_file, [option])
    assert words in str(caught.value)


def test_options_are_applied(config_file):
    cfg = load_config(
        config_file,
        ['model.width=7', 'param_scheduler.0.end=9', 'load_from=x.pth', 'model.init_cfg=None'],
    )
    assert cfg.model.width == 7 and cfg.param_scheduler[0].end == 9 and cfg.load_from == 'x.pth'


def test_options_of_workers_go_where_there_are_none():
    cfg = Config(
        dict(
            train_dataloader=dict(num_workers=0, persistent_workers=True),
            val_dataloader=dict(num_workers=1, persistent_workers=True),
        )
    )
    prepare(cfg)
    assert cfg.train_dataloader == dict(num_workers=0)
    assert cfg.val_dataloader.persistent_workers


def test_unknown_type_suggests_close_names(tmp_path):
    message = message_of(
        lambda: build_runner(Config(toy_config(tmp_path, model=dict(type='ToyModell'))))
    )
    assert "type='ToyModell' is not a known model; did you mean 'ToyModel'" in message


def test_unknown_type_of_another_scope(tmp_path):
    message = message_of(
        lambda: build_runner(Config(toy_config(tmp_path, model=dict(type='SwinTransformr'))))
    )
    assert "'mmseg.SwinTransformer'" in message


def test_unknown_key_lists_what_the_class_takes(tmp_path):
    message = message_of(
        lambda: build_runner(Config(toy_config(tmp_path, model=dict(type='ToyModel', widht=3))))
    )
    assert "type='ToyModel' takes no key `widht`; did you mean 'width'" in message
    assert 'dropout' in message


def test_error_in_a_data_worker_is_one_line():
    message = user_message(
        DataError(
            'Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent '
            'call last):\n  File "x.py"\nrs_mm.errors.DataError: a.png cannot be read.\n'
        )
    )
    assert message == 'a.png cannot be read.'


def test_a_defect_keeps_its_traceback():
    assert user_message(IndexError('list index out of range')) is None


@pytest.mark.parametrize('rank', [0, 1])
def test_a_lost_process_is_told_once(monkeypatch, capsys, rank):
    def fail():
        raise RuntimeError('[gloo/pair.cc:534] Connection closed by peer [127.0.0.1]:5')

    monkeypatch.setenv('RANK', str(rank))
    monkeypatch.setenv('WORLD_SIZE', '2')
    monkeypatch.setattr('os._exit', sys.exit)
    with pytest.raises(SystemExit) as ended:
        run_cli(fail)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert not said if rank else said.startswith('error: another process of this job has ended')
    monkeypatch.delenv('WORLD_SIZE')
    with pytest.raises(RuntimeError) as caught:
        fail()
    assert user_message(caught.value) is None
    assert user_message(TypeError("unsupported operand type(s) for +: 'int' and 'str'")) is None


def test_checkpoint_of_another_model(tmp_path):
    model = ToyModel(width=4)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'a.pth')
    check_checkpoint(model, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r'2 of its 9 weights fit .*7 of another shape'):
        check_checkpoint(ToyModel(width=5), tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match='no state of a training'):
        check_checkpoint(model, tmp_path / 'a.pth', resume=True)
    with pytest.raises(MissingFileError, match='there is no checkpoint .*b.pth'):
        check_checkpoint(model, tmp_path / 'b.pth')


@pytest.mark.parametrize(
    'change, why',
    [
        (dict(training_free=True), 'is of a training-free model'),
        (dict(train_cfg=None), 'has no `train_cfg`'),
    ],
)
def test_nothing_to_train(tmp_path, change, why):
    Config({**toy_config(tmp_path / 'run'), **change}).dump(tmp_path / 'toy.py')
    with pytest.raises(ConfigError, match=f'toy.py {why}: .*evaluate it with tools/test.py'):
        train(tmp_path / 'toy.py')


def test_what_a_training_starts_from(tmp_path, config_file, capsys):
    state = ToyModel().state_dict()
    state['net.0.weight'] = torch.zeros(9, 3)
    state.pop('net.0.bias')
    torch.save(dict(state_dict=state), tmp_path / 'part.pth')
    options = {'load_from': str(tmp_path / 'part.pth'), 'log_level': 'WARNING'}
    train(config_file, options)
    assert (
        "part.pth: 7 of this model's 9 weights start from it (1 are missing there, 1 have "
        'another shape)' in capsys.readouterr().out
    )
    torch.save(dict(state_dict=dict(other=torch.zeros(1))), tmp_path / 'part.pth')
    with pytest.raises(CheckpointError, match='is of another model: 0 of its 1 weights fit'):
        train(config_file, options)


def test_files_without_weights(tmp_path):
    """Also those whose weights mmengine does not find."""
    for what in (torch.zeros(3), torch.zeros(1), dict(model=ToyModel().state_dict()), [1]):
        torch.save(what, tmp_path / 'a.pth')
        for check in (check_checkpoint, check_start):
            with pytest.raises(CheckpointError, match='a.pth holds no weights .* under state_dict'):
                check(ToyModel(), tmp_path / 'a.pth')


def test_no_windows_without_a_display(config_file, monkeypatch):
    monkeypatch.setattr('matplotlib.get_backend', lambda: 'agg')
    options = dict(default_hooks=dict(visualization=dict(type='SampleVisualizationHook')))
    with pytest.raises(
        ConfigError, match='--show opens windows, and there is no display .*--show-dir'
    ):
        run_test(config_file, options=options, show=True)


@pytest.mark.parametrize(
    'content, words',
    [
        (b'', 'is empty'),
        (b'hello', "begins with b'hello'"),
        (b'<!DOCTYPE html>', "begins with b'<!DOCTYPE html>'.*web page"),
        (b'version https://git-lfs.github.com/spec/v1', 'git-lfs pointer'),
    ],
)
def test_what_is_no_checkpoint(tmp_path, content, words):
    (tmp_path / 'a.pth').write_bytes(content)
    with pytest.raises(CheckpointError, match=f'a.pth is not a checkpoint: it .*{words}'):
        check_checkpoint(ToyModel(), tmp_path / 'a.pth')


def test_damaged_and_unsafe_checkpoints(tmp_path):
    (tmp_path / 'old.pth').write_bytes(b'\x80\x02hello')
    with pytest.raises(CheckpointError, match='old.pth (is not a readable|was not loaded)'):
        check_checkpoint(ToyModel(), tmp_path / 'old.pth')
    (tmp_path / 'cut.pth').write_bytes(b'PK\x03\x04 not all of it')
    with pytest.raises(CheckpointError, match='cut.pth is not a readable checkpoint'):
        check_checkpoint(ToyModel(), tmp_path / 'cut.pth')
    torch.save(dict(state_dict={}, model=ToyModel()), tmp_path / 'code.pth')
    with pytest.raises(CheckpointError, match='could run code'):
        check_checkpoint(ToyModel(), tmp_path / 'code.pth')


def test_auto_scale_lr_needs_a_base(config_file):
    with pytest.raises(ConfigError, match='needs `auto_scale_lr.base_batch_size`'):
        train(config_file, auto_scale_lr=True)


def test_settings_of_torch_come_from_the_config(tmp_path):
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    env = dict(tf32=dict(convolutions=False, products=True), keep_freed_memory=True)
    try:
        prepare(Config(toy_config(tmp_path, torch_cfg=env)))
        assert torch.backends.cuda.matmul.allow_tf32 and not torch.backends.cudnn.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    cfg = Config(toy_config(tmp_path, torch_cfg=dict(tf23=True)))
    assert "`torch_cfg` has no key `tf23`; did you mean 'tf32'" in message_of(lambda: prepare(cfg))


def test_channels_last_changes_the_layout_of_the_weights(tmp_path):
    config = toy_config(tmp_path, channels_last=True, model=dict(type='mmseg.ResNet', depth=18))
    model = build_runner(prepare(Config(config))).model
    assert model.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert not model.conv1.weight.is_contiguous()


def test_a_missing_backend_is_named(tmp_path):
    config = toy_config(tmp_path, env_cfg=dict(dist_cfg=dict(backend='ucc')))
    with pytest.raises(ConfigError, match=r"dist_cfg.backend='ucc' is not in this build.*gloo"):
        prepare(Config(config), 'pytorch')


def test_a_batch_below_what_a_loss_compares(tmp_path):
    config = toy_config(tmp_path, batch_size=2, model=dict(type='ToyModel'))
    runner = build_runner(prepare(Config(config)))
    runner.model.min_batch = 3
    with pytest.raises(
        ConfigError,
        match=r'batch_size=2 on 1 process.* ToyModel compares at least '
        '3 samples',
    ):
        runner.train()


def test_an_epoch_without_a_batch(tmp_path):
    config = toy_config(tmp_path, batch_size=11, train_cfg=dict(by_epoch=True, max_epochs=1))
    config['train_dataloader'].update(sampler=dict(type='DefaultSampler'), drop_last=True)
    with pytest.raises(ConfigError, match='batch_size=11: the 10 training samples do not fill one'):
        build_runner(prepare(Config(config))).train()


def test_a_batch_norm_of_one_sample(tmp_path):
    runner = build_runner(prepare(Config(toy_config(tmp_path, batch_size=1))))
    assert 'raise train_dataloader.batch_size' in message_of(runner.train)


def test_activation_checkpointing_of_no_module(tmp_path):
    config = Config(toy_config(tmp_path, activation_checkpointing=['net.9']))
    with pytest.raises(ConfigError, match="no module `net.9`; did you mean 'net.3'.*it has .*net"):
        build_runner(prepare(config))


@pytest.mark.parametrize(
    'key, value',
    [('channels_last', True), ('activation_checkpointing', ['net.0']), ('compile', True)],
)
def test_options_of_the_plain_runner_alone(tmp_path, key, value):
    config = Config(toy_config(tmp_path, runner_type='FlexibleRunner', **{key: value}))
    with pytest.raises(ConfigError, match=f'`{key}` is for the plain Runner'):
        build_runner(prepare(config))


def test_a_folder_of_shards_is_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match='is a folder, such as DeepSpeed writes'):
        check_checkpoint(ToyModel(), tmp_path)


@pytest.mark.parametrize(
    'note, expected',
    [
        ('{folder}/iter_3.pth', 'iter_3.pth'),  # an older one, but it is the one that is named
        ('', 'iter_12.pth'),  # killed while the note was written
        ('{folder}/gone.pth', 'iter_12.pth'),
        (None, 'iter_12.pth'),
    ],
)
def test_the_checkpoint_to_resume(tmp_path, note, expected):
    for name in ('iter_3.pth', 'iter_12.pth', 'best_mIoU_iter_99.pth'):
        save_converted({}, tmp_path / name)
    if note is not None:
        (tmp_path / 'last_checkpoint').write_text(note.format(folder=tmp_path))
    assert newest_checkpoint(tmp_path) == str(tmp_path / expected)
    assert newest_checkpoint(tmp_path / 'new') is None


@pytest.mark.parametrize('cuda', [True, False])
def test_loaders_pin_memory_where_there_is_a_gpu(monkeypatch, cuda):
    monkeypatch.setattr('torch.cuda.is_available', lambda: cuda)
    cfg = prepare(
        Config(
            dict(
                train_dataloader=dict(num_workers=2),
                val_dataloader=dict(pin_memory=False),
                test_dataloader=None,
            )
        )
    )
    assert cfg.train_dataloader.get('pin_memory', False) == cuda
    assert not cfg.val_dataloader.pin_memory and cfg.test_dataloader is None


def test_more_processes_than_gpus(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setattr(torch.distributed, 'is_backend_available', lambda name: True)
    monkeypatch.setenv('LOCAL_RANK', '2')
    with pytest.raises(
        ConfigError,
        match='process 2 of this machine has no GPU: there are 2; '
        'start no more processes than GPUs',
    ):
        prepare(Config(toy_config(tmp_path)), 'pytorch')


def test_a_custom_module_that_is_not_found_is_one_short_sentence(tmp_path):
    path = tmp_path / 'c.py'
    path.write_text("custom_imports = dict(imports=['nowhere_to_be_found'])")
    message = message_of(lambda: load_config(path))
    assert 'there is no module nowhere_to_be_found' in message
    assert 'PYTHONPATH' in message and len(message) < 300


@pytest.mark.parametrize(
    ('module', 'words'),
    [
        ('import torch\nfrom rs_mm.datasets import SeededSmple', 'SeededSmple.*part_1.py, line 2'),
        ('import missing_helper', "No module named 'missing_helper'.*part_1.py, line 1"),
        ('x = 1\ny = undefined', 'part_1.py, line 2: NameError.*undefined'),
        ('x = 1\ny = (', 'part_1.py, line 2: .*never closed'),
    ],
)
def test_a_custom_module_that_fails_names_its_own_line(module, words, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, 'part_1', raising=False)
    (tmp_path / 'part_1.py').write_text(module)
    path = tmp_path / 'c.py'
    path.write_text("custom_imports = dict(imports=['part_1'])")
    message = message_of(lambda: load_config(path))
    assert re.search(words, message) and 'PYTHONPATH' not in message


def test_a_config_inherits_one_of_ours_from_anywhere(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text("_base_ = 'rs_mm::oml_r18_64_12e_fake_ucm'\ntrain_cfg = dict(max_epochs=7)")
    mine, ours = load_config(path), load_config('oml_r18_64_12e_fake_ucm')
    assert mine.train_cfg.max_epochs == 7 and mine.model == ours.model
    path.write_text("_base_ = 'rs_mm::oml_r18_64_12e_fake_umc'")
    assert "did you mean 'oml_r18_64_12e_fake_ucm.py'" in message_of(lambda: load_config(path))
    path.write_text("_base_ = 'oml_r18_64_12e_fake_ucm.py'")
    assert re.search("does not exist; .*'rs_mm::NAME'", message_of(lambda: load_config(path)))
