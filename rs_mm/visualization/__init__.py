"""What --show-dir draws."""

from .change import ChangeVisualizer
from .few_shot import FewShotVisualizer
from .sheet import Panel, draw_sheet, save_sheet

__all__ = ['ChangeVisualizer', 'FewShotVisualizer', 'Panel', 'draw_sheet', 'save_sheet']
