"""The documentation site builds without a warning, and its API reference has every public name."""

import ast
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.parsing import parse

ROOT = Path(__file__).parents[2]
pytest.importorskip('mkdocs', reason='the extra `docs` is not installed')
pytest.importorskip('mkdocstrings', reason='the extra `docs` is not installed')


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp('site')
    command = [sys.executable, '-m', 'mkdocs', 'build', '--quiet', '--strict', '-d', folder]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, 'NO_MKDOCS_2_WARNING': '1'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def public_names():
    for path in sorted((ROOT / 'rs_mm').rglob('*.py')):
        parts = path.relative_to(ROOT).with_suffix('').parts
        module = '.'.join(part for part in parts if part != '__init__')
        if any(part.startswith('_') for part in module.split('.')):
            continue
        for node in parse(path).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name[0] != '_':
                yield f'{module}.{node.name}'


def test_every_public_name_is_in_the_reference(site):
    # four lines of text, then names by line, compressed
    inventory = (site / 'objects.inv').read_bytes().split(b'\n', 4)[4]
    known = {line.split()[0] for line in zlib.decompress(inventory).decode().splitlines()}
    absent = [name for name in public_names() if name not in known]
    assert not absent, f'not in docs/api: {absent}'


def test_nothing_is_fetched_from_outside(site):
    for page in (site / 'index.html', site / 'api' / 'models.html'):
        text = page.read_text(encoding='utf-8')
        assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="https?:', text), page


@pytest.mark.parametrize('page', ['README.md', 'CONTRIBUTING.md', 'SECURITY.md'])
def test_links_of_the_root_pages_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding='utf-8')
    for target in re.findall(r'\]\(([^)#\s]+)', text):
        assert target.startswith('https://') or (ROOT / target).exists(), f'{page}: {target}'
    anchors = {
        re.sub(r'[^\w\- ]', '', title).strip().lower().replace(' ', '-')
        for title in re.findall(r'^#+ (.+)$', text, re.M)
    }
    for anchor in re.findall(r'\]\(#([^)]+)\)', text):
        assert anchor in anchors, f'{page}: #{anchor}'


def test_pictures_are_small():
    for picture in (ROOT / 'docs' / 'images').iterdir():
        assert picture.stat().st_size < 200_000, picture.name
