"""The examples of docs/extend run as they are printed, and stay short."""

import re
from pathlib import Path

import pytest

import rs_mm.datasets
import rs_mm.evaluation
import rs_mm.models
import rs_mm.retrieval  # noqa: F401
from rs_mm.launch.config import load_config

DOCS = Path(__file__).parents[2] / 'docs'
PAGES = sorted(path.stem for path in (DOCS / 'extend').glob('*.md') if path.stem != 'index')


def test_every_kind_has_a_page():
    kinds = 'backbone dataset fusion head loss metric neck reranker'
    assert kinds.split() == PAGES


@pytest.mark.parametrize('page', [*(f'extend/{page}' for page in PAGES), 'models_in_python'])
def test_examples_run(page):
    text = (DOCS / f'{page}.md').read_text()
    blocks = re.findall(r'```python\n(.*?)```', text, re.S)
    examples = [block for block in blocks if 'assert' in block]
    assert examples
    for example in examples:
        lines = [line for line in example.splitlines() if line.strip()]
        assert len(lines) < 40, f'{page}: {len(lines)} lines'
        exec(compile(example, f'docs/{page}.md', 'exec'), {'__name__': f'docs_{Path(page).name}'})


@pytest.mark.parametrize('page', [*PAGES, 'index'])
def test_the_configs_of_a_page_are_read(page, tmp_path, monkeypatch):
    text = (DOCS / 'extend' / f'{page}.md').read_text()
    configs = [b for b in re.findall(r'```python\n(.*?)```', text, re.S) if '_base_' in b]
    assert configs
    monkeypatch.setattr('mmengine.config.config.import_modules_from_strings', lambda **_: None)
    for config in configs:
        (tmp_path / 'mine.py').write_text(config)
        assert load_config(tmp_path / 'mine.py').model


def test_the_model_of_the_readme_is_built():
    text = (DOCS.parent / 'README.md').read_text()
    block = next(b for b in re.findall(r'```python\n(.*?)```', text, re.S) if 'MODELS.build' in b)
    names = {}
    exec(compile(block, 'README.md', 'exec'), names)
    assert names['embedding'].shape == (4, 512)
