"""What --show-dir draws."""

from .change_visualizer import ChangeVisualizer
from .few_shot_visualizer import FewShotVisualizer
from .multilabel_visualizer import MultiLabelVisualizer
from .sheet import Panel, draw_sheet, save_sheet
from .tracking import MLflowVisBackend

__all__ = [
    'ChangeVisualizer',
    'FewShotVisualizer',
    'MLflowVisBackend',
    'MultiLabelVisualizer',
    'Panel',
    'draw_sheet',
    'save_sheet',
]
