"""Every public function states its types, and docstrings do not repeat them."""

import ast
import re
from pathlib import Path

from tests.parsing import parse

ROOT = Path(__file__).parents[1]
SECTION = re.compile(r'^\s*(?:Args|Attributes):\s*$')
TYPED_ENTRY = re.compile(
    r'^\s+\*{0,2}[a-z_][\w]*(?:, \*{0,2}[a-z_]\w*)* \([A-Za-z][^)]*\):(?:\s|$)'
)


def modules():
    for path in sorted((ROOT / 'rs_mm').rglob('*.py')):
        yield path.relative_to(ROOT).as_posix(), parse(path)


def public_functions(body, inside_class=False):
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name[0] != '_':
            yield from public_functions(node.body, True)
        elif isinstance(node, ast.FunctionDef) and (node.name[0] != '_' or node.name == '__init__'):
            yield node, inside_class


def lacks_types(function, inside_class):
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    named += [extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None]
    if inside_class and not any(
        isinstance(mark, ast.Name) and mark.id == 'staticmethod' for mark in function.decorator_list
    ):
        named = named[1:]
    untyped = [argument.arg for argument in named if argument.annotation is None]
    if function.returns is None and function.name != '__init__':
        untyped.append('what it returns')
    return untyped


def test_public_functions_are_typed():
    found = [
        f'{path}:{function.lineno} {function.name}: {", ".join(untyped)}'
        for path, tree in modules()
        for function, inside_class in public_functions(tree.body)
        if (untyped := lacks_types(function, inside_class))
    ]
    assert not found, '\n'.join(found)


def test_docstrings_leave_types_to_signatures():
    found = []
    for path, tree in modules():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef | ast.FunctionDef):
                continue
            in_section = False
            for line in (ast.get_docstring(node, clean=False) or '').splitlines():
                if SECTION.match(line):
                    in_section = True
                elif not line.strip():
                    in_section = False
                elif in_section and TYPED_ENTRY.match(line):
                    found.append(f'{path}, {node.name}: {line.strip()}')
    assert not found, '\n'.join(found)


def test_every_forward_states_its_shapes():
    found = [
        f'{path}: {kind.name}'
        for path, tree in modules()
        for kind in ast.walk(tree)
        if path.startswith('rs_mm/models')
        and isinstance(kind, ast.ClassDef)
        and kind.name[0] != '_'
        for function in kind.body
        if isinstance(function, ast.FunctionDef) and function.name == 'forward'
        if '(' not in (ast.get_docstring(function) or '')
    ]
    assert not found, '\n'.join(found)
