"""Errors that a user can correct: one sentence that names the key or file and says what to do.

The command-line tools print such an error as one line and exit with status 2; any other exception
is a defect of the program and keeps its traceback. Every class takes only the message, because
mmengine's registry and torch's data workers raise a caught exception again as ``type(e)(message)``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class RSMMError(Exception):
    """The base class: something that the user gave is wrong or missing."""

    def __str__(self) -> str:
        if len(self.args) != 1:
            return super().__str__()
        # a suggestion is a question, and may end the sentence
        return re.sub(r'\?\.(?=\s|$)', '?', str(self.args[0]))


class ConfigError(RSMMError, ValueError):
    """A config, option or argument is wrong."""


class ArgumentError(ConfigError, TypeError):
    """A part gets an argument that it does not take, or does not get one that it needs."""


class UnknownTypeError(ConfigError, KeyError):
    """A config names a part or a layer that is not in any registry."""


class DataError(RSMMError, ValueError):
    """A data file is damaged, inconsistent, or not in the form of its dataset."""


class MissingFileError(RSMMError, FileNotFoundError):
    """A file or folder does not exist."""


class CheckpointError(RSMMError, RuntimeError):
    """A checkpoint is unreadable, unsafe, or belongs to another model."""


def suggest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Returns ``; did you mean 'X' or 'Y'?`` with the closest of ``known``, or an empty string."""
    lower = {key.lower(): key for key in sorted(known, key=len, reverse=True)}
    close = difflib.get_close_matches(name.lower(), lower, n=3, cutoff=cutoff)
    return f'; did you mean {" or ".join(repr(lower[key]) for key in close)}?' if close else ''
