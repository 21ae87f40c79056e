"""One run at a time in a work folder, and the checkpoint it goes on from."""

import json
import os
import signal
import socket
import time

import pytest
import torch

from rs_mm.checkpoint import load_file, save_converted
from rs_mm.checkpoint_digest import verify
from rs_mm.errors import CheckpointError, ConfigError
from rs_mm.launch.work_dir import claim, newest_checkpoint, older_checkpoint, release


@pytest.fixture(autouse=True)
def _released():
    yield
    release()


def another_process(folder):
    """A process that claims a folder and keeps it; returns its number once it has."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        claim(folder)
        os.write(writer, b'1')
        time.sleep(60)
        os._exit(0)
    os.read(reader, 1)
    return child


def test_a_folder_is_refused_while_another_run_trains_there(tmp_path):
    child = another_process(tmp_path / 'run')
    expected = f'process {child} on {socket.gethostname()}, since '
    with pytest.raises(ConfigError, match=f'another run trains there \\({expected}'):
        claim(tmp_path / 'run')
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    claim(tmp_path / 'run')  # the lock of a killed run is stale
    assert json.loads((tmp_path / 'run/.lock').read_text())['process'] == os.getpid()
    claim(tmp_path / 'run')  # it is mine


def test_what_killed_runs_left_is_removed(tmp_path):
    for name in ('.iter_3.123.unfinished.pth', '.metrics.9.unfinished.json', 'iter_3.pth', '.keep'):
        (tmp_path / name).write_text('x')
    claim(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['.keep', '.lock', 'iter_3.pth']


def test_where_nothing_can_be_written(tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('x')
    for folder in (tmp_path / 'file', tmp_path / 'file/run'):
        with pytest.raises(ConfigError, match='a file is in the way of the folder'):
            claim(folder)

    def refuse(*_, **__):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr('os.open', refuse)  # root may write anywhere
    with pytest.raises(ConfigError, match='nothing can be written there'):
        claim(tmp_path)


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 0x10
    path.write_bytes(content)


def write_checkpoints(folder, *steps):
    for step in steps:
        save_converted({'w': torch.full((500,), float(step))}, folder / f'iter_{step}.pth')
        os.utime(folder / f'iter_{step}.pth', (step, step))


def test_any_flipped_byte_of_a_checkpoint_is_seen(tmp_path):
    write_checkpoints(tmp_path, 1)
    path = tmp_path / 'iter_1.pth'
    assert verify(path) == 'sha256'
    size = path.stat().st_size
    sound = path.read_bytes()
    for place in range(0, size - 80, 97):  # 80: the digest itself
        path.write_bytes(sound)
        flip(path, place)
        with pytest.raises(CheckpointError):
            load_file(path)
    path.write_bytes(sound[: size // 2])
    with pytest.raises(CheckpointError, match='cut short'):
        load_file(path)


def test_a_checkpoint_of_others_is_verified_by_its_parts(tmp_path, caplog):
    path, weights = tmp_path / 'a.pth', {'state_dict': {'w': torch.ones(5000)}}
    torch.save(weights, path)
    assert verify(path) == 'crc32' and torch.equal(
        load_file(path)['state_dict']['w'], torch.ones(5000)
    )
    flip(path, path.stat().st_size // 2)
    with pytest.raises(CheckpointError, match='a.pth is damaged: the checksum of its part'):
        load_file(path)
    torch.save(weights, path, _use_new_zipfile_serialization=False)
    assert verify(path) is None and load_file(path)


def test_resume_passes_over_damaged_checkpoints(tmp_path):
    write_checkpoints(tmp_path, 1, 2, 3)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'iter_3.pth'))
    assert newest_checkpoint(tmp_path) == str(tmp_path / 'iter_3.pth')
    flip(tmp_path / 'iter_3.pth', 300)
    (tmp_path / 'iter_2.pth').write_bytes(b'')
    assert newest_checkpoint(tmp_path) == str(tmp_path / 'iter_1.pth')
    assert older_checkpoint(tmp_path / 'iter_3.pth') == str(tmp_path / 'iter_1.pth')
    flip(tmp_path / 'iter_1.pth', 300)
    with pytest.raises(CheckpointError, match='iter_3.pth is damaged'):
        newest_checkpoint(tmp_path)


def test_a_bomb_is_no_checkpoint(tmp_path):
    import zipfile

    with zipfile.ZipFile(tmp_path / 'a.pth', 'w', zipfile.ZIP_DEFLATED) as archive:
        for number in range(2):
            archive.writestr(f'a/data/{number}', bytes(50 << 20))
    with pytest.raises(CheckpointError, match='unpack to'):
        load_file(tmp_path / 'a.pth')
