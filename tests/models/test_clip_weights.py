import pickle
import zipfile

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from rs_mm.errors import CheckpointError, ConfigError, MissingFileError
from rs_mm.models.clip_weights import (
    download_weights,
    is_torchscript,
    load_tag,
    load_weights,
)
from tests.weicom_toy import ARCH, tiny


def pretrained(path):
    return dict(init_cfg=dict(type='Pretrained', checkpoint=str(path)))


def other():
    torch.manual_seed(5)
    return open_clip.CLIP(**ARCH).eval()


@pytest.mark.filterwarnings('ignore:the weights "openai" were trained')
@pytest.mark.parametrize('kind', ['safetensors', 'bin', 'script'])
def test_a_tag_is_loaded_whatever_its_format(tmp_path, monkeypatch, kind):
    path = tmp_path / f'open_clip_model.{kind}'
    if kind == 'safetensors':
        save_file(other().state_dict(), path)
    elif kind == 'bin':
        torch.save(other().state_dict(), path)
    else:
        torch.jit.script(other()).save(path)
    monkeypatch.setattr(open_clip, 'download_pretrained', lambda cfg: str(path))
    expected = other().state_dict()
    for load in (
        lambda clip: load_tag(clip, 'RN50', 'openai'),
        lambda clip: load_weights(clip, path, 'RN50'),
    ):
        clip = tiny().clip
        load(clip)
        assert all(torch.equal(value, expected[key]) for key, value in clip.state_dict().items())
    torch.save({'visual.proj': torch.zeros(1)}, tmp_path / 'bad.bin')
    monkeypatch.setattr(open_clip, 'download_pretrained', lambda cfg: str(tmp_path / 'bad.bin'))
    with pytest.raises(CheckpointError, match='the weights "openai", do not fit RN50'):
        load_tag(tiny().clip, 'RN50', 'openai')


@pytest.mark.parametrize('wrap', [lambda state: state, lambda state: {'state_dict': state}])
@pytest.mark.parametrize('name', ['CLIP-tiny.bin', 'RemoteCLIP-tiny.pt'])
def test_a_state_dict_is_loaded(tmp_path, name, wrap):
    torch.save(wrap(other().state_dict()), tmp_path / name)
    model = tiny(**pretrained(tmp_path / name))
    model.init_weights()
    expected = other().state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in model.clip.state_dict().items())


def test_openai_archive_is_read_without_its_program(tmp_path):
    path = tmp_path / 'ViT-tiny.pt'
    torch.jit.script(other()).save(path)
    assert is_torchscript(path)
    clip = tiny().clip
    load_weights(clip, path, 'tiny')
    expected = other().state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in clip.state_dict().items())


class Evil:
    def __reduce__(self):
        return print, ('code ran',)


def test_code_in_a_file_is_refused(tmp_path, capsys):
    torch.save({'visual.proj': Evil()}, tmp_path / 'evil.pt')
    with pytest.raises(CheckpointError, match='reading it could run code'):
        load_weights(tiny().clip, tmp_path / 'evil.pt', 'tiny')
    path = tmp_path / 'evil_script.pt'
    torch.jit.script(other()).save(path)
    entries = {}
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            evil = name.endswith('/data.pkl')
            entries[name] = pickle.dumps(Evil(), 2) if evil else archive.read(name)
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    with pytest.raises(CheckpointError, match='TorchScript archive cannot be read as data'):
        load_weights(tiny().clip, path, 'tiny')
    assert 'code ran' not in capsys.readouterr().out


def test_missing_weights_say_where_they_are_published(tmp_path):
    clip = tiny().clip
    with pytest.raises(
        MissingFileError,
        match=r'no weights .*RemoteCLIP-ViT-L-14.pt: download '
        'RemoteCLIP-ViT-L-14.pt from .*chendelong/RemoteCLIP',
    ):
        load_weights(clip, tmp_path / 'RemoteCLIP-ViT-L-14.pt', 'ViT-L-14')
    with pytest.raises(
        MissingFileError,
        match='no weights .*CLIP-RN50.bin: download '
        'open_clip_pytorch_model.bin from .*under the name CLIP-RN50.bin',
    ):
        load_weights(clip, tmp_path / 'CLIP-RN50.bin', 'RN50')


def test_weights_of_another_architecture(tmp_path):
    state = other().state_dict()
    del state['visual.proj']
    torch.save(state, tmp_path / 'a.pt')
    with pytest.raises(
        CheckpointError,
        match=r'not of the architecture ViT-B-32: 1 weights '
        r'missing, 0 unknown, 0 of another shape \(e.g. visual.proj',
    ):
        load_weights(tiny().clip, tmp_path / 'a.pt', 'ViT-B-32')


def test_tags():
    with pytest.raises(ConfigError, match='no weights "laion" for ViT-L-14; it has: openai'):
        download_weights('ViT-L-14', 'laion')


@pytest.mark.filterwarnings('ignore:the weights "openai" were trained')
def test_a_tag_that_cannot_be_fetched(monkeypatch):
    def fail(cfg):
        raise OSError('no route to host')

    monkeypatch.setattr(open_clip, 'download_pretrained', fail)
    with pytest.raises(
        MissingFileError,
        match='could not be fetched .no route to host.*name it in model.init_cfg.checkpoint',
    ):
        download_weights('RN50', 'openai')


def test_quick_gelu_and_other_preprocessing_are_told(monkeypatch):
    monkeypatch.setattr(open_clip, 'download_pretrained', lambda cfg: 'file')
    with pytest.warns(UserWarning, match='RN50-quickgelu has the other'):
        assert download_weights('RN50', 'openai') == 'file'
    with pytest.warns(UserWarning, match='set in OpenCLIPPreprocess .*0.5'):
        download_weights('ViT-B-16-SigLIP', 'webli')


def test_a_file_that_is_no_checkpoint(tmp_path):
    (tmp_path / 'x.pt').write_bytes(b'not weights')
    with pytest.raises(CheckpointError, match='x.pt'):
        load_weights(tiny().clip, tmp_path / 'x.pt', 'tiny')
    with pytest.raises(ConfigError, match='model.init_cfg: write dict'):
        tiny(init_cfg=dict(type='Xavier')).init_weights()
