"""What --show-dir draws."""

from .change import ChangeVisualizer
from .few_shot import FewShotVisualizer
from .multilabel import MultiLabelVisualizer
from .sheet import Panel, draw_sheet, save_sheet

__all__ = [
    'ChangeVisualizer',
    'FewShotVisualizer',
    'MultiLabelVisualizer',
    'Panel',
    'draw_sheet',
    'save_sheet',
]
