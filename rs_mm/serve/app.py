"""The page with its tabs, and the server with its limits."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rs_mm.apis.search import ImageSearch
from rs_mm.errors import ConfigError, DataError, MissingFileError

# Gradio reads these when it is imported: no request leaves the machine
_QUIET = dict(GRADIO_ANALYTICS_ENABLED='False', HF_HUB_DISABLE_TELEMETRY='1')
_CSS = 'footer { display: none !important; } .map iframe { width: 100%; height: 420px; border: 0; }'


@dataclass
class Settings:
    """The settings of the server.

    Attributes:
        host: address to listen at; only this machine by default.
        port: number, or None for the first free one from 7860.
        uploads: size of the largest upload, in megabytes.
        waiting: number of requests that may wait while one is processed.
        users: names and passwords for the login. Empty: no login.
    """

    host: str = '127.0.0.1'
    port: int | None = None
    uploads: int = 50
    waiting: int = 20
    users: dict[str, str] = field(default_factory=dict)


def gradio() -> Any:
    """Returns the package Gradio.

    Raises:
        ConfigError: Gradio is not installed.
    """
    os.environ.update({key: os.environ.get(key, value) for key, value in _QUIET.items()})
    try:
        import gradio
    except ImportError as error:
        raise ConfigError('the page needs Gradio: pip install "rs_mm[page]".') from error
    return gradio


def build_page(
    engine: ImageSearch,
    changes: str | Path | None = None,
    dates: tuple[str | Path, str | Path] | None = None,
    segmenter: Any = None,
) -> Any:
    """Builds the page as ``gradio.Blocks``.

    Args:
        engine: archive to search.
        changes: output folder of ``tools/predict_change.py``.
        dates: folders of the images of date 1 and date 2 of these changes.
        segmenter: a ``FewShotSegmenter``; without it there is no few-shot tab.
    """
    gr = gradio()
    from .change_tab import change_tab
    from .downloads import KEPT, Downloads
    from .few_shot_tab import few_shot_tab
    from .search_tab import search_tab

    lock = threading.Lock()  # the model works for one request at a time
    downloads = Downloads()
    with gr.Blocks(title='rs_mm', analytics_enabled=False, delete_cache=(KEPT, KEPT)) as page:
        gr.Markdown(f'## rs_mm\n{len(engine)} images in {engine.index.name} index')
        with gr.Tab('Search'):
            search_tab(engine, lock, downloads)
        if changes is not None:
            with gr.Tab('Changes'):
                change_tab(Path(changes), dates)
        if segmenter is not None:
            with gr.Tab('Few-shot'):
                few_shot_tab(segmenter, engine, lock, downloads)
    return page


def serve(page: Any, settings: Settings | None = None, block: bool = True) -> str:
    """Starts the server.

    Args:
        page: from :func:`build_page`.
        settings: see :class:`Settings`.
        block: whether to wait until it is stopped.

    Returns:
        Its address.

    Raises:
        ConfigError: the port is in use.
    """
    gr, settings = gradio(), settings or Settings()
    plain = ['system-ui', 'sans-serif']  # other fonts would be loaded from a server
    page.queue(max_size=settings.waiting, default_concurrency_limit=1)
    try:
        _, address, _ = page.launch(
            server_name=settings.host,
            server_port=settings.port,
            auth=[*settings.users.items()] or None,
            max_file_size=settings.uploads * 1024 * 1024,
            theme=gr.themes.Default(font=plain, font_mono=['monospace']),
            css=_CSS,
            prevent_thread_lock=True,
            share=False,
            quiet=True,
            inbrowser=False,
            ssr_mode=False,
            enable_monitoring=False,
            footer_links=[],
        )
    except OSError as error:
        raise ConfigError(
            f'port {settings.port or "7860 to 7959"} of {settings.host} cannot be used ({error}); '
            'choose another one with --port.'
        ) from error
    print(f'The page is at {address} (Ctrl+C ends it)', flush=True)
    if block:
        page.block_thread()
    return address


def read_users(path: str | Path) -> dict[str, str]:
    """Reads names and passwords from a file with lines ``NAME:PASSWORD``.

    Raises:
        MissingFileError: the file does not exist.
        DataError: a line has another form; the message names the line, not the password.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f'there is no file of users {path}.')
    users = {}
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
        if not line.strip():
            continue
        name, mark, password = line.strip().partition(':')
        if not (name and mark and password):
            raise DataError(f'{path}, line {number}: write NAME:PASSWORD.')
        users[name] = password
    if not users:
        raise DataError(f'{path} has no user; write NAME:PASSWORD in each line.')
    return users
