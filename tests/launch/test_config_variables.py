"""Options that name a variable of a config file reach what was made from it."""

import pytest

from rs_mm.errors import ConfigError
from rs_mm.launch.config import load_config

CONFIG = """
data_root, crop_size, iterations, base = 'data/here', (64, 64), 60, 3
steps = [dict(type='Load'), dict(type='Crop', crop_size=crop_size)]
model = dict(type='Net', test_cfg=dict(crop_size=crop_size, stride=(64, 64)), depth=base)
train_dataloader = dict(dataset=dict(data_root=data_root, pipeline=steps))
test_dataloader = dict(dataset=dict(type='Concat', datasets=[
    dict(data_root=data_root), dict(data_root='data/there')]))
train_cfg = dict(max_iters=iterations, val_interval=iterations // 2)
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(CONFIG)
    return path


def test_what_has_its_name_and_value_changes(config):
    cfg = load_config(config, ['data_root=elsewhere', 'crop_size=32,48'])
    assert cfg.train_dataloader.dataset.data_root == 'elsewhere'
    assert [part.data_root for part in cfg.test_dataloader.dataset.datasets] == [
        'elsewhere',
        'data/there',
    ]
    assert cfg.model.test_cfg.crop_size == [32, 48] and cfg.model.test_cfg.stride == (64, 64)
    assert cfg.train_dataloader.dataset.pipeline[1].crop_size == [32, 48]


def test_a_pipeline_changes_wherever_it_stands(config):
    cfg = load_config(config, {'steps.1.crop_size': 8})
    assert cfg.train_dataloader.dataset.pipeline == [
        dict(type='Load'),
        dict(type='Crop', crop_size=8),
    ]
    assert cfg.model.test_cfg.crop_size == (64, 64)


def test_a_setting_changes_alone(config):
    cfg = load_config(config, {'train_dataloader.dataset.data_root': 'elsewhere'})
    assert cfg.data_root == 'data/here' and cfg.test_dataloader.dataset.datasets[0] == dict(
        data_root='data/here'
    )


def test_paths_below_a_folder_move_with_it(config):
    config.write_text(
        f'{CONFIG}\nlists, near = data_root + "/lists", data_root + "_2/lists"\n'
        'train_dataloader["dataset"].update(list_dir=lists, files=[near, lists])'
    )
    for new in ('/new', 'data/here/v2'):
        dataset = load_config(config, {'data_root': new}).train_dataloader.dataset
        assert dataset.data_root == new and dataset.list_dir == f'{new}/lists'
        assert dataset.files == ['data/here_2/lists', f'{new}/lists']


def test_a_pair_of_a_variable_is_named_first(config):
    config.write_text(
        f'{CONFIG}\nside = 256\nmodel.update(depth=side, width=side)\n'
        'for i in range(4): model[f"batch{i}"] = side\n'
        'train_dataloader["dataset"].update(scale=(side, side))'
    )
    with pytest.raises(
        ConfigError,
        match=r'\(train_dataloader.dataset.scale, model.depth, '
        r'model.width, model.batch0 or 3 more\)',
    ):
        load_config(config, {'side': 7})


def test_a_setting_may_differ_from_the_variable(config):
    name = 'train_dataloader.dataset.data_root'
    for options in ({'data_root': 'a', name: 'b'}, {name: 'b', 'data_root': 'a'}):
        cfg = load_config(config, options)
        assert cfg.train_dataloader.dataset.data_root == 'b'
        assert cfg.test_dataloader.dataset.datasets[0].data_root == 'a'


def test_a_variable_used_under_another_name_is_an_error(config):
    with pytest.raises(ConfigError, match=r'iterations: .*\(train_cfg.max_iters\)'):
        load_config(config, {'iterations': 7})


@pytest.mark.parametrize(
    'name, value, near',
    [
        ('optim_wraper', dict(type='OptimWrapper'), 'optim_wrapper'),
        ('custom_hook', [dict(type='EMAHook')], 'custom_hooks'),
        ('channel_last', True, 'channels_last'),
    ],
)
def test_a_variable_with_nearly_the_name_of_a_setting(config, name, value, near):
    config.write_text(f'{CONFIG}\n{name} = {value!r}')
    with pytest.raises(ConfigError, match=f"nothing reads `{name}`; did you mean '{near}'"):
        load_config(config)


@pytest.mark.parametrize('name', ['text_cfg', 'test_pipeline', 'norm_cfg', 'models'])
def test_variables_of_usual_names(config, name):
    config.write_text(f'{name} = dict(depth=3)\n{CONFIG}\nmodel["part"] = {name}')
    assert load_config(config).model.part == dict(depth=3)
