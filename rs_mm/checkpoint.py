"""Safe reading of checkpoints, and writing of converted weights."""

from __future__ import annotations

import io
import os
import pickle
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch

from rs_mm.checkpoint_digest import sealed, verify
from rs_mm.checkpoint_types import safe_globals
from rs_mm.errors import CheckpointError, MissingFileError
from rs_mm.files import atomic_write

_said = set()
_CONTAINERS = ('state_dict_ema', 'state_dict', 'model_state_dict', 'model')


def load_file(path: str | Path, map_location: str | torch.device | None = 'cpu') -> dict:
    """Loads a torch file with ``weights_only=True``, after a check of its checksums.

    Args:
        path: the file.
        map_location: see ``torch.load``.

    Raises:
        MissingFileError: the file does not exist.
        CheckpointError: the file is damaged, holds more than data, or is a folder of shards.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(
            f'{path} is a folder, such as DeepSpeed writes; join its shards with '
            'the zero_to_fp32.py beside it, and give the file that this writes.'
        )
    if not path.is_file():
        raise MissingFileError(f'there is no checkpoint {path}.')
    verified_by = verify(path)
    try:
        with torch.serialization.safe_globals(safe_globals()):
            content = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's message is a page of advice; one of its lines has the reason
        reason = next(
            (
                line.strip()
                for line in str(error).splitlines()
                if re.search('GLOBAL|Unsupported|the checkpoint (asks|holds|sets)', line)
            ),
            'it is not plain data',
        )
        raise CheckpointError(
            f'{path} was not loaded, because reading it could run code: {reason}'
        ) from error
    except Exception as error:  # damaged bytes make the unpickler raise any type
        reason = str(error).partition('\n')[0]
        raise CheckpointError(
            f'{path} is not a readable checkpoint (cut short in a download?): '
            f'{type(error).__name__}: {reason}'
        ) from error
    _say_how_verified(path, verified_by)
    return content


def cannot_download(url: str, error: Exception) -> MissingFileError:
    """Returns the error for weights that cannot be downloaded, with their address and what to
    do."""
    place = Path(torch.hub.get_dir()) / 'checkpoints' / Path(urlparse(url).path).name
    reason = ' '.join(str(getattr(error, 'reason', None) or error).split())[:200].rstrip('.')
    return MissingFileError(
        f'the weights {url} could not be downloaded ({type(error).__name__}: {reason}); get the '
        f'file by hand and put it at {place}, or set `load_from` or `init_cfg.checkpoint` of the '
        'config (whichever names the address) to the path of the file.'
    )


def load_from_local(filename: str, map_location: str | None = None) -> Any:
    """Calls :func:`load_file` in the form of mmengine's loaders of local files."""
    return load_file(os.path.expanduser(filename), map_location)


def _say_how_verified(path, by):
    from mmengine.logging import print_log

    if by == 'sha256' or path in _said:
        return
    _said.add(path)
    print_log(
        f'{path} has no SHA-256 of its content; '
        + (
            'the checksums of its parts (CRC-32) agree.'
            if by
            else 'it is unverified, because files of torch before 1.6 have no checksums.'
        ),
        'current',
    )


def read_state_dict(
    path: str | Path,
    strip: tuple[str, ...] = ('module.',),
    containers: tuple[str, ...] = _CONTAINERS,
) -> dict[str, torch.Tensor]:
    """Reads the weights in a checkpoint file, at any of several keys.

    Args:
        path: a file with a bare state dict, or with a state dict in a container; or
            ``.safetensors``.
        strip: prefixes to remove from names, each at most once, in this order.
        containers: keys of the weights; the first existing key is used. Default:
            ``state_dict_ema``, ``state_dict``, ``model_state_dict``, ``model``.

    Returns:
        Name -> tensor, on the CPU.

    Raises:
        MissingFileError, CheckpointError: see :func:`load_file`; also if the file holds no tensors.
    """
    state = _load_safetensors(path) if Path(path).suffix == '.safetensors' else load_file(path)
    if isinstance(state, dict):
        state = next((state[key] for key in containers if isinstance(state.get(key), dict)), state)
        state = {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
    if not isinstance(state, dict) or not state:
        raise CheckpointError(
            f'{path} holds no weights (a dictionary of names and tensors, as '
            f'it is or under {" or ".join(containers)}).'
        )
    for prefix in strip:
        state = {key.removeprefix(prefix): value for key, value in state.items()}
    return state


def _load_safetensors(path):
    from safetensors import SafetensorError
    from safetensors.torch import load_file as load

    if not Path(path).is_file():
        raise MissingFileError(f'there is no checkpoint {path}.')
    try:
        return load(path)
    except SafetensorError as error:
        raise CheckpointError(
            f'{path} is not a readable checkpoint (cut short in a download?): {error}'
        ) from error


def save_converted(state: dict, out: str | Path, meta: dict | None = None) -> None:
    """Writes weights as an mmengine checkpoint that ``tools/test.py`` and ``load_from`` take."""
    content = io.BytesIO()
    torch.save({'state_dict': dict(state), 'meta': dict(meta or {})}, content)
    with atomic_write(out) as file:
        file.writelines(sealed(content.getbuffer()))
