"""An exported model: its networks as onnxruntime sessions, and its further files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from rs_mm.arrays import load_array
from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.limits import check_inside

MANIFEST = 'model.json'
FORMAT = 1
TASKS = ('change', 'few_shot', 'embedding', 'retrieval')


class ExportedModel:
    """The networks in a folder of ``tools/export.py``; each is opened at its first use.

    Args:
        folder: folder with ``model.json`` and its networks.
        threads: threads of onnxruntime. Default: one for each core.

    Attributes:
        info: content of ``model.json``.
        task: ``change``, ``few_shot``, ``embedding`` or ``retrieval``.
        classes: names of the classes; empty if there are none.

    Raises:
        MissingFileError: the folder or a file is missing.
        DataError: ``model.json`` is damaged, of another version, or of another format.
    """

    def __init__(self, folder: str | Path, threads: int | None = None) -> None:
        self.folder, self.threads = Path(folder), threads
        self.info = read_manifest(self.folder)
        self.task: str = self.info['task']
        self.classes: list[str] = list(self.info.get('classes') or ())
        self._sessions: dict[str, Any] = {}

    def run(self, name: str, **inputs: np.ndarray) -> list[np.ndarray]:
        """Runs one network; returns its results in the order of ``model.json``."""
        session = self._sessions.get(name)
        if session is None:
            session = self._sessions[name] = open_session(self._file(name), self.threads)
        try:
            return session.run(None, inputs)
        except Exception as error:  # onnxruntime raises its own types for inputs that do not fit
            shapes = ', '.join(f'{key} {value.shape}' for key, value in inputs.items())
            reason = str(error).splitlines()[0]
            raise DataError(f'{self._file(name)} does not take {shapes}: {reason}') from error

    def array(self, name: str) -> np.ndarray:
        """Reads an array of the export, for example a memory of labelled images."""
        path = self.folder / f'{name}.npy'
        if not path.is_file():
            raise MissingFileError(f'{path} is missing; export the model again.')
        return load_array(path)

    def _file(self, name):
        return self.folder / self.info['graphs'][name]['file']


def read_manifest(folder: Path) -> dict[str, Any]:
    """Reads ``model.json`` of a folder; see :class:`ExportedModel` for the errors."""
    path = folder / MANIFEST
    if not path.is_file():
        raise MissingFileError(f'{folder} holds no exported model: there is no {MANIFEST} in it.')
    try:
        info = json.loads(path.read_text(encoding='utf-8'))
        version, task = info['format_version'], info['task']
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f'{path} is damaged ({error!r}); export the model again.') from error
    if version != FORMAT or task not in TASKS:
        raise DataError(
            f'{path} is of format {version} and task {task!r}; this version reads format {FORMAT}.'
        )
    if info.get('format') != 'onnx':
        raise DataError(
            f'{path} describes a model in the format {info.get("format")!r}, which onnxruntime '
            'does not read; export it with --format onnx.'
        )
    for file in _files(info, path):
        if not (folder / check_inside(file, path)).is_file():
            raise MissingFileError(f'{folder / file} is missing; export the model again.')
    return info


def _files(info, path):
    try:
        parts = [*info['graphs'].values(), info.get('tokenizer')]
        return [str(part['file']) for part in parts if part]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f'{path} is damaged ({error!r}); export the model again.') from error


def open_session(path: Path, threads: int | None = None) -> Any:
    """Opens an onnxruntime session on the CPU, or on CUDA if this onnxruntime has it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(
            f'{path}: running an exported model needs onnxruntime: pip install "rs_mm[export]".'
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if threads:
        options.intra_op_num_threads = threads
    there = onnxruntime.get_available_providers()
    providers = [p for p in ('CUDAExecutionProvider', 'CPUExecutionProvider') if p in there]
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise DataError(f'{path} cannot be opened as a model ({reason}).') from error
