"""Debian's Chromium driven by Playwright, for tests of pages."""

import contextlib
import shutil

import pytest


def chromium():
    """Path of the browser, or skips the test."""
    pytest.importorskip('playwright', reason='needs playwright, see requirements/tests.txt')
    path = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser'))), None)
    if path is None:
        pytest.skip('needs chromium (apt-get install chromium)')
    return path


@contextlib.contextmanager
def opened(url, width=1300, height=850):
    """A page, and lists of what it asked for and of what its console said."""
    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=['--no-sandbox', '--disable-gpu']
        )
        page = browser.new_page(viewport=dict(width=width, height=height))
        page.set_default_timeout(120_000)  # a busy machine takes its time
        requests, errors = [], []
        page.on('request', lambda request: requests.append(request.url))
        page.on('console', lambda m: m.type == 'error' and errors.append(m.text))
        page.on('pageerror', lambda error: errors.append(str(error)))
        page.goto(url)
        try:
            yield page, requests, errors
        finally:
            browser.close()
