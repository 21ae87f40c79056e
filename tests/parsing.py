"""Parses sources of the project."""

import ast
import gc
from pathlib import Path


def parse(path: Path) -> ast.Module:
    """Returns the syntax tree of a file.

    Python 3.11 fails with "AST constructor recursion depth mismatch" if a finaliser runs meanwhile
    whose error is printed, since printing parses source lines; so nothing is collected meanwhile.
    """
    gc.disable()
    try:
        return ast.parse(path.read_text(encoding='utf-8'))
    finally:
        gc.enable()
