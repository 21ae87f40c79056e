"""Messages for errors in building a config, which name the key."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
import textwrap
import tokenize

from rs_mm.errors import suggest

#: The expressions below read messages of these versions; a test compares them with the
#: installed. mmengine: registry/build_functions.py and registry/registry.py; mmcv:
#: cnn/bricks/registry; CPython: the TypeErrors of a call.
WRITTEN_FOR = {'mmengine': '0.10.7', 'mmcv': '2.1.0', 'python': '3.10 to 3.14'}

_UNKNOWN_TYPE = re.compile(
    r"^['\"]?(?P<type>[\w.]+) is not in the (?:(?P<scope>\w+)::)?"
    r'(?P<name>[^.:]+?) registry'
)
_UNKNOWN_LAYER = re.compile(r'^Cannot find None in registry under scope name (?P<scope>\w+)')
_UNKNOWN_KEY = re.compile(
    r'^(?P<path>[\w.]+)\.__init__\(\) got an unexpected keyword argument '
    r"'(?P<key>\w+)'"
)
_FIXED_KEY = re.compile(
    r'^(?P<path>[\w.]+)\(\) got multiple values for (?:keyword )?argument '
    r"'(?P<key>\w+)'"
)
_MISSING_KEY = re.compile(
    r'^(?P<path>[\w.]+)\.__init__\(\) missing \d+ required '
    r'(?:positional|keyword-only) arguments?: (?P<keys>.+)'
)
_NO_OPTIMIZER = 'None is not a callable object'  # what mmengine found of a type it does not know
_NO_SUCH_KEY = re.compile(r"^'Config(?:Dict)?' object has no attribute '(?P<key>\w+)'")
# errors that a wrong value raises; others, e.g. NameError, are defects of the program
_OF_VALUES = (TypeError, ValueError, LookupError, AssertionError, RuntimeError, ArithmeticError)
# mmengine's functions that build a section of the config, and the section; {} is replaced by the
# loop
_BUILDERS = dict(
    build_train_loop='train_cfg',
    build_val_loop='val_cfg',
    build_test_loop='test_cfg',
    build_dataloader='{}_dataloader',
    build_evaluator='{}_evaluator',
    build_model='model',
    wrap_model='model_wrapper_cfg',
    build_optim_wrapper='optim_wrapper',
    build_param_scheduler='param_scheduler',
    build_visualizer='visualizer',
    build_log_processor='log_processor',
    register_default_hooks='default_hooks',
    register_custom_hooks='custom_hooks',
    setup_env='env_cfg',
    build_strategy='strategy',
)


def explain_build_error(error: Exception) -> str | None:
    """Returns a sentence for an unknown ``type``, an unknown, missing or fixed key, or a value with
    which its section of the config cannot be built; None for other errors, which are defects."""
    text = str(error.args[0]) if error.args else ''
    scope = _failed_import(error)
    if scope not in ('', 'mmengine', 'rs_mm'):
        return _why_not_imported(scope, error)
    if isinstance(error, AttributeError) and (found := _NO_SUCH_KEY.match(text)):
        return f'the config has no key `{found["key"]}` where one is needed.'
    if isinstance(error, KeyError) and (found := _UNKNOWN_TYPE.match(text)):
        return _explain_unknown_type(**found.groupdict('rs_mm'))
    if isinstance(error, KeyError) and (found := _UNKNOWN_LAYER.match(text)):
        config = _frames(error)[-1].f_locals['cfg']  # mmcv's message names None instead
        return _explain_unknown_type(config['type'], found['scope'])
    if isinstance(error, TypeError) and (found := _UNKNOWN_KEY.match(text)):
        return _explain_unknown_key(error, **found.groupdict())
    if isinstance(error, TypeError) and (found := _FIXED_KEY.match(text)):
        name = _class_of(error, found['path'].removesuffix('.__init__'))[0]
        return f"type='{name}' sets `{found['key']}` itself: leave it out."
    if isinstance(error, TypeError) and (found := _MISSING_KEY.match(text)):
        return (
            f"the config of type='{_class_of(error, found['path'])[0]}' lacks the required "
            f'key(s) {found["keys"]}.'
        )
    if isinstance(error, TypeError) and text == _NO_OPTIMIZER:
        for owner in (frame.f_locals.get('self') for frame in _frames(error)):
            if isinstance(kind := getattr(owner, 'optimizer_cfg', {}).get('type'), str):
                return _explain_unknown_type(kind, name='optimizer')
    place = _place(error) if isinstance(error, _OF_VALUES) else ''
    if not place:
        return None
    text = ' '.join(str(error).split())[:400]
    return (
        f'{place} cannot be built with the values it has: {type(error).__name__}: {text} '
        '(RS_MM_TRACEBACK=1 shows where).'
    )


def _explain_unknown_type(type, scope='rs_mm', name='model'):
    """Returns the sentence for a ``type`` that is not in the registries ``name``, with similar
    types."""
    from mmengine import registry as roots

    if broken := _broken_scope(type, scope):
        return broken
    if name == 'optimizer' and (package := _optimizer_package(type)):
        return (
            f"type='{type}' comes with the package {package}, which is not installed: "
            f'pip install {package}.'
        )
    known = set()
    for root in vars(roots).values():
        if isinstance(root, roots.Registry) and root.name == name and root.parent is None:
            known.update(root.module_dict)
            for child_scope, child in root.children.items():
                prefix = '' if child_scope == scope else f'{child_scope}.'
                known.update(prefix + key for key in child.module_dict)
    return (
        f"type='{type}' is not a known {name.replace('_', ' ')}{suggest(type, known)}. Is its "
        'file imported (custom_imports) and its class decorated with `register_module()`?'
    )


def _optimizer_package(kind):
    """Returns the package whose optimizers mmengine registers if it is installed."""
    packages = {
        'Lion': 'lion-pytorch',
        'SophiaG': 'Sophia-Optimizer',
        'DAdaptAdaGrad': 'dadaptation',
        'DAdaptAdam': 'dadaptation',
        'DAdaptSGD': 'dadaptation',
        'Adafactor': 'transformers',
    }
    if kind.endswith('8bit'):
        return 'bitsandbytes'
    return packages.get(kind)


def _broken_scope(kind, scope):
    """Returns the sentence for a scope whose package cannot be imported, which mmengine ignores."""
    from mmengine.registry import DefaultScope

    default = getattr(DefaultScope.get_current_instance(), 'scope_name', '')
    for name in dict.fromkeys((kind.rpartition('.')[0].partition('.')[0], scope, default)):
        if not name or name in ('mmengine', 'rs_mm'):
            continue
        try:
            importlib.import_module(f'{name}.registry')
        except Exception as error:  # a package may raise errors of any type, e.g. about versions
            return f"type='{kind}' cannot be built: {_why_not_imported(name, error)}"
    return ''


def _failed_import(error):
    """Returns the scope whose package mmengine was importing at an exception; empty if none."""
    frames = _frames(error)
    for frame, inner in zip(frames, frames[1:]):
        if inner.f_code.co_name != 'import_module' or not _of_registry(frame):
            continue
        if frame.f_code.co_name == 'switch_scope_and_registry':
            return frame.f_locals.get('scope_name', '')
        if frame.f_code.co_name == 'get':
            return frame.f_locals.get('scope') or ''
        if frame.f_code.co_name == 'import_from_location':
            return getattr(frame.f_locals.get('self'), 'scope', '')
    return ''


def _of_registry(frame):
    return frame.f_globals.get('__name__', '').startswith('mmengine.registry')


def _why_not_imported(name, error):
    missing = (getattr(error, 'name', None) or '').partition('.')[0]
    if isinstance(error, ImportError) and missing == name:
        return f'there is no package {name!r}; install it, or correct the scope.'
    said = ' '.join(str(error).split())[:300]
    if not isinstance(error, ImportError):
        said = f'{builtins.type(error).__name__}: {said}'
    advice = f': install {missing!r} beside it' if missing else ''
    if name == 'opencd':
        advice += '; requirements/opencd.txt names what Open-CD needs'
    return f'the package {name!r} fails to import ({said}){advice}.'


def _explain_unknown_key(error, path, key):
    name, found_class = _class_of(error, path)
    accepted = accepted_keys(found_class) if found_class else []
    listed = f' It takes: {", ".join(accepted)}.' if accepted else ''
    return f"type='{name}' takes no key `{key}`{suggest(key, accepted)}.{listed}"


def _frames(error) -> list:
    """Yields the frames of an exception, the innermost last."""
    frames, step = [], error.__traceback__
    while step:
        frames.append(step.tb_frame)
        step = step.tb_next
    return frames


def _built(frame):
    """Returns the class that mmengine builds in a frame; None in any other frame."""
    found = frame.f_locals.get('obj_cls') if frame.f_code.co_name == 'build_from_cfg' else None
    return found if inspect.isclass(found) else None


def _place(error):
    """``\\`train_dataloader\\`, type='X'``: the section that was being built; empty if there was
    none."""
    section = loop = part = ''
    for frame in _frames(error):
        if not frame.f_globals.get('__name__', '').startswith('mmengine.'):
            continue
        function = frame.f_code.co_name
        if function in _BUILDERS:
            section, part = _BUILDERS[function].format(loop), ''
            loop = section.removesuffix('_cfg')
        elif built := _built(frame):
            part = built.__name__
    return ', '.join([f'`{section}`'] * bool(section) + [f"type='{part}'"] * bool(part))


def _class_of(error, path):
    """Returns name and class of the config's ``type`` whose ``__init__`` a TypeError names.

    The path in the error may be that of a base class; the config has the class that was built.
    """
    name = path.split('.')[-1]
    frames = _frames(error)[::-1]
    others = (
        value for frame in frames for value in (*frame.f_locals.values(), *frame.f_globals.values())
    )
    for found in (*filter(None, map(_built, frames)), *filter(inspect.isclass, others)):
        if any(base.__name__ == name for base in found.__mro__):
            return found.__name__, found
    return name, None


def accepted_keys(cls: type) -> list[str]:
    """Returns the keywords of ``cls(...)``, including those that it passes to its bases."""
    keys, fixed = [], set()
    for base in cls.__mro__:
        if '__init__' not in vars(base) or base is object:
            continue
        parameters = inspect.signature(base.__init__).parameters.values()
        keys += [
            p.name
            for p in parameters
            if p.name not in {'self', *keys, *fixed}
            and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
        ]
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            break
        fixed |= _given_to_base(base)
    return keys


def _given_to_base(cls):
    """Returns the names that the ``__init__`` of a class passes itself to its base."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls.__init__)))
    except (OSError, TypeError, SyntaxError, tokenize.TokenError):  # no file, or another one
        return set()
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == '__init__'
    ]
    return {keyword.arg for call in calls for keyword in call.keywords if keyword.arg}
