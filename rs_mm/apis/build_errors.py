"""Turns what goes wrong while a config is assembled into a sentence that names the key."""

from __future__ import annotations

import inspect
import re

from rs_mm.errors import suggest

_UNKNOWN_TYPE = re.compile(r"^['\"]?(?P<type>[\w.]+) is not in the (?P<scope>\w+)::(?P<name>[^.]+?)"
                           r' registry')
_UNKNOWN_KEY = re.compile(r"^(?P<class>\w+)\.__init__\(\) got an unexpected keyword argument "
                          r"'(?P<key>\w+)'")
_MISSING_KEY = re.compile(r'^(?P<class>\w+)\.__init__\(\) missing \d+ required '
                          r'(?:positional|keyword-only) arguments?: (?P<keys>.+)')


def explain_build_error(error) -> str | None:
    """A sentence for an unknown ``type``, an unknown key or a missing key; None for the rest."""
    text = str(error.args[0]) if error.args else ''
    if isinstance(error, KeyError) and (found := _UNKNOWN_TYPE.match(text)):
        return _explain_unknown_type(**found.groupdict())
    if not isinstance(error, TypeError):
        return None
    if found := _UNKNOWN_KEY.match(text):
        return _explain_unknown_key(found['class'], found['key'], _class_of(error, found['class']))
    if found := _MISSING_KEY.match(text):
        return (f"the config of type='{found['class']}' lacks the required key(s) "
                f"{found['keys']}.")
    return None


def _explain_unknown_type(type, scope, name):
    from mmengine import registry as roots
    known = set()
    for root in vars(roots).values():
        if isinstance(root, roots.Registry) and root.name == name and root.parent is None:
            known.update(root.module_dict)
            for child_scope, child in root.children.items():
                prefix = '' if child_scope == scope else f'{child_scope}.'
                known.update(prefix + key for key in child.module_dict)
    return (f"type='{type}' is not a known {name}{suggest(type, known)}. Is its file imported "
            "(custom_imports) and its class decorated with `register_module()`?")


def _explain_unknown_key(class_name, key, found_class):
    accepted = _accepted_keys(found_class) if found_class else []
    listed = f' It takes: {", ".join(accepted)}.' if accepted else ''
    return (f"type='{class_name}' takes no key `{key}`{suggest(key, accepted)}.{listed}")


def _class_of(error, name):
    """The class named in a TypeError, found through the frames it passed."""
    frame = error.__traceback__
    while frame:
        for value in (*frame.tb_frame.f_locals.values(), *frame.tb_frame.f_globals.values()):
            if inspect.isclass(value):
                for base in value.__mro__:
                    if base.__name__ == name:
                        return value
        frame = frame.tb_next
    return None


def _accepted_keys(cls):
    keys = []
    for base in cls.__mro__:
        if '__init__' not in vars(base) or base is object:
            continue
        parameters = inspect.signature(base.__init__).parameters.values()
        keys += [p.name for p in parameters if p.name != 'self' and p.name not in keys
                 and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            break
    return keys
