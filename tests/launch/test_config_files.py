"""Configs by their names, and the console command."""

import subprocess
import sys

import pytest

from rs_mm.errors import MissingFileError
from rs_mm.launch import console
from rs_mm.launch.config_files import find_config, tree


@pytest.mark.parametrize(
    'name',
    [
        'demo/dsqnet_swin_demo.py',
        'configs/demo/dsqnet_swin_demo.py',
        'dsqnet_swin_demo',
        'dsqnet_swin_demo.py',
    ],
)
def test_a_config_is_found_by_its_name_from_anywhere(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config(name) == tree('configs') / 'demo/dsqnet_swin_demo.py'


def test_a_file_of_the_user_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'dsqnet_swin_demo.py').write_text('a = 1')
    assert find_config('dsqnet_swin_demo.py').read_text() == 'a = 1'


def test_a_misspelt_name_is_named(tmp_path):
    with pytest.raises(MissingFileError, match="did you mean .*'dsqnet_swin_demo.py'"):
        find_config('dsqnet_swin_dem')
    with pytest.raises(MissingFileError, match='there is no config .*/a/b.py'):
        find_config(tmp_path / 'a/b.py')


def test_every_tool_is_a_command():
    known = console.commands()
    names = {path.name for path in known.values()}
    files = {path.name for path in tree('tools').rglob('*.py') if 'benchmarks' not in path.parts}
    assert names == files
    assert {'train', 'test', 'search', 'change', 'check', 'convert_grn'} <= set(known)


def test_list_and_misspelt_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['rs_mm'])
    console.main()
    assert 'Trains the model of a config' in capsys.readouterr().out
    monkeypatch.setattr(sys, 'argv', ['rs_mm', 'trian'])
    with pytest.raises(SystemExit, match="no command 'trian'; did you mean 'train'"):
        console.main()


def test_a_command_runs_its_tool():
    command = [sys.executable, '-m', 'rs_mm', 'print_config', '--help']
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert out.startswith('usage: rs_mm print_config') or 'usage:' in out
