"""What --show-dir draws."""

from .change import ChangeVisualizer
from .sheet import Panel, draw_sheet, save_sheet

__all__ = ['ChangeVisualizer', 'Panel', 'draw_sheet', 'save_sheet']
