"""Reading CLIP weights as data, in the formats in which they are published."""

from __future__ import annotations

import io
import pickletools
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from rs_mm.arrays import DAMAGED
from rs_mm.checkpoint import read_state_dict
from rs_mm.errors import CheckpointError, ConfigError, MissingFileError
from rs_mm.limits import check_expansion

# the default preprocessing of OpenCLIPPreprocess
_OPENAI = dict(
    mean=(0.48145466, 0.4578275, 0.40821073),
    std=(0.26862954, 0.26130258, 0.27577711),
    interpolation='bicubic',
    resize_mode='shortest',
)
# entries of OpenAI's state dicts that are not weights
# where other weights are published, by a part of the file's path
_PAGES = dict(
    remoteclip='the model page chendelong/RemoteCLIP on huggingface.co',
    georsclip='the model page Zilun/GeoRSCLIP on huggingface.co (ckpt/RS5M_*.pt)',
    skyclip='the links in the README of wangzhecheng/SkyScript on github.com (unpack the zip and '
    'rename its epoch_20.pt)',
)
_SETTINGS = ('input_resolution', 'context_length', 'vocab_size')


def load_weights(clip: nn.Module, path: str | Path, arch: str | dict) -> None:
    """Loads a file into an open_clip model, strictly.

    Args:
        clip: the model.
        path: a bare state dict (``.bin``, ``.pt``, ``.safetensors``) with open_clip's
            names, or OpenAI's TorchScript archive.
        arch: the model's architecture, for messages.

    Raises:
        MissingFileError: the file does not exist; the message says where to get it.
        CheckpointError: the file is damaged, holds code, or belongs to another architecture.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f'there are no weights {path}: {where_to_get(path, arch)}')
    own = clip.state_dict()
    if is_torchscript(path):
        # besides weights it holds constants of the program
        state = {key: value for key, value in read_torchscript(path).items() if key in own}
    else:
        state = {key: value for key, value in read_state_dict(path).items() if key not in _SETTINGS}
    missing = [key for key in own if key not in state]
    unknown = [key for key in state if key not in own]
    wrong = [key for key in own if key in state and own[key].shape != state[key].shape]
    if missing or unknown or wrong:
        example = (missing or unknown or wrong)[0]
        raise CheckpointError(
            f'{path} is not of the architecture {_name(arch)}: {len(missing)} weights missing, '
            f'{len(unknown)} unknown, {len(wrong)} of another shape (e.g. {example}).'
        )
    clip.load_state_dict(state)


def load_tag(clip: nn.Module, arch: str | dict, tag: str) -> None:
    """Loads the weights of an open_clip tag, in any format.

    Raises:
        ConfigError, MissingFileError: see :func:`download_weights`.
        CheckpointError: the downloaded weights do not fit the model.
    """
    import open_clip

    path = download_weights(arch, tag)
    if is_torchscript(path):
        load_weights(clip, path, arch)
        return
    try:
        open_clip.load_checkpoint(clip, path, strict=True, weights_only=True)
    except (RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(
            f'{path}, the weights "{tag}", do not fit {_name(arch)}: {str(error).splitlines()[0]}'
        ) from error


def download_weights(arch: str | dict, tag: str) -> str:
    """Downloads the weights of an open_clip tag into open_clip's cache, and returns the file.

    Raises:
        ConfigError: open_clip does not have this tag for the architecture.
        MissingFileError: the weights are not in the cache and cannot be downloaded.
    """
    import open_clip

    tags = _tags(arch)
    if tag not in tags:
        raise ConfigError(
            f'open_clip has no weights "{tag}" for {_name(arch)}; it has: '
            f'{", ".join(tags) or "none"}.'
        )
    cfg = open_clip.get_pretrained_cfg(arch, tag)
    if cfg.get('quick_gelu') and 'quickgelu' not in arch:
        warnings.warn(
            f'the weights "{tag}" were trained with the quick GELU, and {_name(arch)} '
            f'has the plain one, as in the published results; {arch}-quickgelu has the '
            'other.',
            stacklevel=2,
        )
    own = {key: cfg[key] for key in ('mean', 'std', 'interpolation', 'resize_mode') if key in cfg}
    if any(value != _OPENAI[key] for key, value in own.items()):
        warnings.warn(
            f'the weights "{tag}" were trained with another preprocessing: set in '
            f'OpenCLIPPreprocess {own}.',
            stacklevel=2,
        )
    try:
        return open_clip.download_pretrained(cfg)
    except Exception as error:  # the hub, the network and the disk each raise their own types
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MissingFileError(
            f'the weights "{tag}" of {_name(arch)} could not be fetched ({reason}). Without a '
            'network, put the file somewhere and name it in model.init_cfg.checkpoint: '
            f'{_source(arch, tag)}.'
        ) from error


def where_to_get(path: Path, arch: str | dict) -> str:
    """Returns a sentence that says where a missing file of weights is published."""
    for part, page in _PAGES.items():
        if part in path.as_posix().lower():
            return f'download {path.name} from {page}, and put it into {path.parent}.'
    tags = _tags(arch)
    if 'openai' not in tags and tags:
        return f'download {_source(arch, tags[0])}, and put it there under the name {path.name}.'
    return (
        f'download {_source(arch, "openai")}, and put it there under the name {path.name}; '
        'or name another file in model.init_cfg.checkpoint.'
    )


def _source(arch, tag):
    import open_clip

    cfg = open_clip.get_pretrained_cfg(arch, tag) if isinstance(arch, str) else {}
    places = []
    if cfg.get('hf_hub'):
        places.append(
            'open_clip_pytorch_model.bin from the model page '
            f'{cfg["hf_hub"].rstrip("/")} on huggingface.co'
        )
    if cfg.get('url'):
        places.append(f'the file at {cfg["url"]}')
    return ' or '.join(places) or f'weights of {_name(arch)}'


def _tags(arch):
    import open_clip

    return open_clip.list_pretrained_tags_by_model(arch) if isinstance(arch, str) else []


def _name(arch):
    return arch if isinstance(arch, str) else 'given in model.arch'


def is_torchscript(path: str | Path) -> bool:
    """Returns whether a file is a TorchScript archive, the format in which OpenAI published
    CLIP."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith('/constants.pkl') for name in archive.namelist())


def read_torchscript(path: str | Path) -> dict[str, Tensor]:
    """Returns the weights of a TorchScript archive, without running its code.

    The archive is copied in memory without its program. The rest is an ordinary file of tensors,
    which torch reads with ``weights_only=True``. Empty classes, which only hold attributes, replace
    the classes of the modules.

    Raises:
        CheckpointError: the archive holds anything except modules and tensors.
    """
    stripped, names = io.BytesIO(), set()
    try:
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(stripped, 'w') as copy:
            whole = sum(part.file_size for part in archive.infolist())
            check_expansion(whole, Path(path).stat().st_size, path, CheckpointError)
            copy.writestr('archive/version', '3\n')  # its module differs between versions of torch
            for entry in archive.namelist():
                _, _, inner = entry.partition('/')
                if inner.startswith('data/') or inner in ('data.pkl', 'byteorder'):
                    copy.writestr(f'archive/{inner}', archive.read(entry))
                if inner == 'data.pkl':
                    names = {
                        f'{argument}'.replace(' ', '.')
                        for code, argument, _ in pickletools.genops(archive.read(entry))
                        if code.name == 'GLOBAL' and argument.startswith('__torch__')
                    }
    except CheckpointError:
        raise
    except (*DAMAGED, IndexError) as error:
        raise CheckpointError(
            f'{path}: this TorchScript archive is damaged ({type(error).__name__}: {error}).'
        ) from error
    holders: list[Callable | tuple[Callable, str]] = [
        (type('Holder', (_Holder,), {}), name) for name in sorted(names)
    ]
    holders += [(_first, f'torch.jit._pickle.{name}') for name in _LIST_BUILDERS]
    stripped.seek(0)
    try:
        with torch.serialization.safe_globals(holders):
            root = torch.load(stripped, map_location='cpu', weights_only=True)
            return dict(_tensors(root))
    except Exception as error:  # a damaged archive fails in many ways
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f'{path}: this TorchScript archive cannot be read as data ({reason}).'
        ) from error


# TorchScript wraps lists in calls that only state their type
_LIST_BUILDERS = (
    'build_intlist',
    'build_doublelist',
    'build_boollist',
    'build_tensorlist',
    'restore_type_tag',
)


def _first(data, *_):
    return data


class _Holder:
    """Holds the attributes of a module of a TorchScript archive."""


def _tensors(holder, prefix=''):
    for name, value in vars(holder).items():
        if isinstance(value, Tensor):
            yield prefix + name, value
        elif isinstance(value, _Holder):
            yield from _tensors(value, f'{prefix}{name}.')
