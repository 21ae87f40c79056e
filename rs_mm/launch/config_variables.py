"""Options for variables of a config file, for example ``data_root`` or ``train_pipeline``."""

from __future__ import annotations

import copy
import os
from pathlib import Path

from mmengine.config import Config

from rs_mm.errors import ConfigError, suggest


def check_names(cfg: Config, path: str | Path, settings: set[str]) -> None:
    """Refuses a misspelt setting at the top of a config file, which would be an unused variable.

    Two kinds of names are accepted: names that end in ``pipeline``, which configs use as variables,
    and dicts and lists that a setting also contains, because the file has used them.

    Args:
        cfg: the config.
        path: its file.
        settings: top-level keys that are not variables.

    Raises:
        ConfigError: a name is almost the name of a setting.
    """
    for name, value in cfg.items():
        near = suggest(name, settings, cutoff=0.85)
        if name in settings or name.endswith('pipeline') or not near:
            continue
        if not isinstance(value, (dict, list)) or not any(
            _places(cfg._cfg_dict, value, settings & set(cfg))
        ):
            raise ConfigError(
                f'{path}: nothing reads `{name}`{near} A variable of your own '
                'needs a name that differs more.'
            )


def merge_options(cfg: Config, options: dict, settings: set[str]) -> None:
    """Merges options into a config; copies of a variable change with the variable.

    Options apply after the config file has been evaluated. At that time its variables have been
    copied to their places of use, and a change of only the variable would have no effect. So every
    key with the variable's name and former value changes too (``data_root`` of every dataset). If
    the variable is a dict or a list of dicts, every equal value changes (``pipeline`` of a
    dataset). If it is a folder, every path below it changes (``data_root + '/lists'``).

    Args:
        cfg: changed in place.
        options: dotted keys -> values.
        settings: top-level keys that are not variables.

    Raises:
        ConfigError: no key with the variable's name uses it.
    """
    own = {
        key: value
        for key, value in options.items()
        if (name := key.split('.')[0]) not in settings and name in cfg
    }
    before = {
        name: copy.deepcopy(cfg._cfg_dict[name])
        for name in dict.fromkeys(key.split('.')[0] for key in own)
    }
    cfg.merge_from_dict(own)
    for name, old in before.items():
        new = cfg._cfg_dict[name]
        places = [
            (holder, key)
            for _, holder, key in _places(cfg._cfg_dict, old, settings & set(cfg))
            if key == name or _is_part(old)
        ]
        below = list(_paths_below(cfg._cfg_dict, old, settings & set(cfg)))
        for holder, key in places:
            holder[key] = copy.deepcopy(new)
        for holder, key, rest in below:
            holder[key] = os.path.join(str(new), rest)
        if not places and not below:
            raise ConfigError(
                f'--cfg-options {name}: this variable of the config file has been '
                'used under other names or inside other values; set those instead '
                f'({_candidates(cfg._cfg_dict, old, settings & set(cfg))}).'
            )
    # last, because a setting may differ from the variable
    cfg.merge_from_dict({key: value for key, value in options.items() if key not in own})


def _candidates(node, old, keys):
    """Lists places where a variable may have been used, pairs first, because they are rarely equal
    by chance."""
    pairs = [path for path, *_ in (*_places(node, [old, old], keys), *_places(node, old, keys))]
    return ', '.join(pairs[:4]) + f' or {len(pairs) - 4} more' * (len(pairs) > 4) or (
        'print_config.py shows them'
    )


def _places(node, old, keys=None, path=()):
    """Yields the places of ``old`` below ``node``: (dotted path, dict or list, its key or
    index)."""
    if keys is None:
        keys = node if isinstance(node, dict) else range(len(node))
    for key in list(keys):
        value, inner = node[key], (*path, str(key))
        if _equal(value, old):
            yield '.'.join(inner), node, key
        elif isinstance(value, (dict, list)):
            yield from _places(value, old, None, inner)


def _paths_below(node, folder, keys=None):
    """Yields every path below ``folder``, if it is a string: the container, the key and the part
    below."""
    if not isinstance(folder, str) or not folder.strip('/'):
        return
    start = folder.rstrip('/') + '/'
    for key in list(keys or (node if isinstance(node, dict) else range(len(node)))):
        value = node[key]
        if isinstance(value, str) and value.startswith(start) and value != folder:
            yield node, key, value[len(start) :]
        elif isinstance(value, (dict, list)):
            yield from _paths_below(value, folder)


def _equal(value, old):
    if isinstance(value, (list, tuple)) and isinstance(old, (list, tuple)):
        return list(value) == list(old)
    return type(value) is type(old) and value == old


def _is_part(value):
    """Returns whether a value is a dict with a type, or a list of them, which is recognised
    anywhere."""
    if isinstance(value, dict):
        return 'type' in value
    return (
        isinstance(value, list) and bool(value) and all(isinstance(entry, dict) for entry in value)
    )
