"""The command ``rs_mm``, which runs the tools by name, also without a checkout.

``rs_mm train CONFIG`` is ``python tools/train.py CONFIG``; ``rs_mm`` alone lists the commands.
"""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path

from rs_mm.errors import ConfigError, RSMMError, suggest
from rs_mm.launch.config_files import tree

#: Short names in addition to the names of the files.
SHORT = {
    'change': 'predict_change',
    'check': 'check_dataset',
    'fewshot': 'predict_fewshot',
    'labels': 'predict_labels',
}


def commands() -> dict[str, Path]:
    """Returns every command and its file: the names of tools, without ``.py``, and the short
    names."""
    files = sorted(tree('tools').rglob('*.py'))
    found = {path.stem: path for path in files if 'benchmarks' not in path.parts}
    # two converters have the names of other tools; the folder distinguishes them
    for path in files:
        if path.parent.name == 'model_converters':
            found.pop(path.stem, None)
            found[f'convert_{path.stem}'] = path
    return found | {short: found[name] for short, name in SHORT.items() if name in found}


def main() -> None:
    """Runs ``rs_mm COMMAND ARGUMENT…``."""
    try:
        known = commands()
    except RSMMError as error:
        sys.exit(f'error: {error}')
    name = sys.argv[1] if len(sys.argv) > 1 else '--help'
    if name in ('-h', '--help'):
        print(_listing(known))
        return
    if name not in known:
        sys.exit(f'error: {ConfigError(f"rs_mm has no command {name!r}{suggest(name, known)}.")}')
    sys.argv = [f'rs_mm {name}', *sys.argv[2:]]
    runpy.run_path(str(known[name]), run_name='__main__')


def _listing(known):
    width = max(map(len, known))
    lines = [f'  {name:<{width}}  {_summary(path)}' for name, path in sorted(known.items())]
    return '\n'.join(['usage: rs_mm COMMAND ARGUMENT...', '', *lines])


def _summary(path):
    text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
    return text.partition('\n')[0].partition(': python ')[0]
