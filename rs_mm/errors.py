"""Errors a user can act on: one sentence, naming the offending key or file and what to do.

The command-line tools print such an error as one line and exit with status 2; any other exception
is a defect of the program and keeps its traceback. Every class takes the message alone, because
mmengine's registry and torch's data workers raise a caught exception again as ``type(e)(message)``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class RSMMError(Exception):
    """Base class: something the user gave is wrong or missing."""

    def __str__(self) -> str:
        if len(self.args) != 1:
            return super().__str__()
        # a suggestion is a question, and may end the sentence
        return re.sub(r'\?\.(?=\s|$)', '?', str(self.args[0]))


class ConfigError(RSMMError, ValueError):
    """A config, option or argument is wrong."""


class ArgumentError(ConfigError, TypeError):
    """A part is given an argument that it does not take, or lacks one that it needs."""


class UnknownTypeError(ConfigError, KeyError):
    """A config names a part, or a layer, that no registry has."""


class DataError(RSMMError, ValueError):
    """A data file is damaged, inconsistent, or not what its dataset promises."""


class MissingFileError(RSMMError, FileNotFoundError):
    """A file or folder is not where the config says."""


class CheckpointError(RSMMError, RuntimeError):
    """A checkpoint is unreadable, unsafe, or of another model."""


def suggest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """``; did you mean 'X' or 'Y'?`` for the closest of ``known``, or nothing."""
    lower = {key.lower(): key for key in sorted(known, key=len, reverse=True)}
    close = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=cutoff)
    return f'; did you mean {" or ".join(repr(lower[key]) for key in close)}?' if close else ''
