"""The examples of docs/extend run as they are printed, and stay short."""

import re
from pathlib import Path

import pytest

import rs_mm.datasets
import rs_mm.evaluation
import rs_mm.models
import rs_mm.retrieval  # noqa: F401

DOCS = Path(__file__).parents[2] / 'docs'
PAGES = sorted(path.stem for path in (DOCS / 'extend').glob('*.md') if path.stem != 'index')


def test_every_kind_has_a_page():
    kinds = 'backbone dataset fusion head loss metric neck reranker'
    assert kinds.split() == PAGES


@pytest.mark.parametrize('page', PAGES)
def test_example_runs(page):
    text = (DOCS / 'extend' / f'{page}.md').read_text()
    example = re.search(r'## Example\n\n```python\n(.*?)```', text, re.S)[1]
    assert 'assert' in example
    lines = [line for line in example.splitlines() if line.strip()]
    assert len(lines) < 40, f'{page}: {len(lines)} lines'
    exec(compile(example, f'docs/extend/{page}.md', 'exec'), {'__name__': f'docs_{page}'})


def test_the_model_of_the_readme_is_built():
    text = (DOCS.parent / 'README.md').read_text()
    block = next(b for b in re.findall(r'```python\n(.*?)```', text, re.S) if 'MODELS.build' in b)
    names = {}
    exec(compile(block, 'README.md', 'exec'), names)
    assert names['embedding'].shape == (4, 512)
