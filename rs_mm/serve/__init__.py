"""A page in the browser: search an archive, view changes, find a class by a few examples.

Needs Gradio (extra ``page``). ``rs_mm serve INDEX --config CONFIG`` starts it.
"""

from .app import Settings, build_page, serve

__all__ = ['Settings', 'build_page', 'serve']
