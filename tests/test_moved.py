"""Old module names still work, and the public face imports nothing heavy."""

import importlib
import sys

import pytest

import rs_mm.apis
from rs_mm.moved import MOVED


@pytest.mark.parametrize('old', sorted(MOVED))
def test_old_name_gives_the_new_module(old):
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match='has moved'):
        module = importlib.import_module(old)
    assert module is importlib.import_module(MOVED[old])
    assert module.__name__ == MOVED[old]


@pytest.mark.parametrize('name', rs_mm.apis.__all__)
def test_public_names_exist(name):
    assert callable(getattr(rs_mm.apis, name))


def test_unknown_name():
    with pytest.raises(ImportError, match='nothing_of_ours'):
        from rs_mm.apis import nothing_of_ours  # noqa: F401
