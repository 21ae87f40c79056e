"""What --show-dir draws."""

from .sheet import Panel, draw_sheet, save_sheet

__all__ = ['Panel', 'draw_sheet', 'save_sheet']
