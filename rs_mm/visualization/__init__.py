"""The pictures of --show-dir, and maps."""

from rs_mm.lazy_names import attach

__all__, __getattr__ = attach(
    __name__,
    {
        'change_visualizer': ['ChangeVisualizer'],
        'few_shot_visualizer': ['FewShotVisualizer'],
        'multilabel_visualizer': ['MultiLabelVisualizer'],
        'sheet': ['Panel', 'draw_sheet', 'save_sheet'],
        'tracking': ['MLflowVisBackend'],
    },
)
