"""Resizing and tokens in numpy equal Pillow, torchvision and open_clip, to the last bit."""

import numpy as np
import open_clip
import pytest
import torch
from open_clip.tokenizer import default_bpe
from PIL import Image
from torchvision.transforms import v2

from rs_mm.exported.resampling import resize
from rs_mm.exported.tokens import Tokenizer


@pytest.mark.parametrize('kernel', ['bilinear', 'bicubic'])
@pytest.mark.parametrize('shape', [(90, 200), (140, 61), (64, 64)])
def test_resizes_as_pillow_and_torch_do(shape, kernel):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    for size in ((64, 64), (100, 30), (97, 201)):
        mode = getattr(Image.Resampling, kernel.upper())
        expected = np.asarray(Image.fromarray(image).resize(size[::-1], mode))
        np.testing.assert_array_equal(resize(image, size, kernel, 'pillow'), expected)
        mode = getattr(v2.InterpolationMode, kernel.upper())
        planes = torch.from_numpy(image).permute(2, 0, 1)
        expected = v2.Resize(size, mode)(planes).permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(resize(image, size, kernel, 'torch'), expected)


def test_tokens_equal_those_of_open_clip():
    texts = [
        'a photo of a harbour with 12 ships',
        "it's  they're\tCAN'T we'll",
        'naïve café “quoted” ‘x’ &amp;lt;b&gt;',
        '東京 x²³ 10km/h #road @night ...???!',
        '',
        'boat ' * 100,
    ]
    expected = open_clip.SimpleTokenizer()(texts).numpy()
    np.testing.assert_array_equal(Tokenizer(default_bpe())(texts), expected)
