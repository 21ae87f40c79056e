import json
import warnings
from unittest.mock import patch

import numpy as np
import open_clip
import pytest
import torch

from rs_mm.datasets.transforms import OpenCLIPPreprocess
from rs_mm.errors import ConfigError, MissingFileError
from rs_mm.models.composed_retriever import ComposedRetriever
from rs_mm.registry import MODELS
from tests import fill
from tests.parity import fill_state, load_case
from tests.weicom_toy import ARCH, tiny


def recorded_images():
    images = {}
    for height, width in ((256, 256), (300, 224)):
        field = fill.field(f'weicom/clip/rgb{height}x{width}', (1, 3, height, width))[0]
        images[f'{height}x{width}'] = (field * 255).round().astype(np.uint8).transpose(1, 2, 0)
    return images


def preprocessed():
    transform = OpenCLIPPreprocess()
    return {key: transform(dict(img=image))['img'] for key, image in recorded_images().items()}


def test_official_preprocessing():
    _, recorded = load_case('weicom', 'clip_towers')
    for key, image in preprocessed().items():
        assert image.shape == (3, 224, 224)
        np.testing.assert_allclose(image[:, ::4, ::4], recorded[f'pre_{key}'], rtol=0, atol=1e-5)


def test_official_tokens():
    manifest, recorded = load_case('weicom', 'clip_towers')
    tokens = tiny().tokenize(manifest['settings']['prompts'])
    np.testing.assert_array_equal(tokens, recorded['tokens'])


@pytest.mark.parametrize(
    'arch',
    [
        'ViT-B-32',
        pytest.param('RN50', marks=pytest.mark.slow),
        pytest.param('ViT-L-14', marks=pytest.mark.slow),
    ],
)
def test_official_features(arch):
    manifest, recorded = load_case('weicom', 'clip_towers')
    model = ComposedRetriever(arch).eval()
    model.clip.load_state_dict(fill_state(manifest['parameters'][arch]))
    images = model.encode_image(torch.stack(list(preprocessed().values())))
    text = model.encode_text(manifest['settings']['prompts'])
    for mine, key in ((images, 'image'), (text, 'text')):
        np.testing.assert_allclose(mine, recorded[f'{arch}_{key}'], rtol=1e-3, atol=2e-5)


def test_what_prediction_adds():
    model, images = tiny(), torch.randn(3, 3, 32, 32)
    features = model(dict(image=images, text=['a', 'b', 'c']))
    assert features['image'].shape == features['text'].shape == (3, 16)
    torch.testing.assert_close(features['image'].norm(dim=1), torch.ones(3))
    torch.testing.assert_close(features['text'].norm(dim=1), torch.ones(3))
    for inputs, expected in (
        (images, features['image']),
        (dict(text=['a', 'b', 'c']), features['text']),
        (dict(image=images, text=['a', 'b', 'c']), torch.stack(list(features.values()), 1)),
    ):
        samples = model(inputs, mode='predict')
        torch.testing.assert_close(torch.stack([s.embedding for s in samples]), expected)


def test_a_batch_as_it_is_collated():
    model, image = tiny(), torch.randn(3, 32, 32)
    both = model.test_step(dict(inputs=dict(image=[image, image], text=['a', 'b'])))
    assert both[0].embedding.shape == (2, 16)
    one = model.test_step(dict(inputs=[image]))
    torch.testing.assert_close(one[0].embedding, both[0].embedding[0])


@pytest.mark.parametrize('precision,atol', [('fp16', 5e-3), ('bf16', 3e-2)])
def test_half_precision_is_close(precision, atol):
    images = torch.randn(2, 3, 32, 32)
    full, half = tiny(), tiny(precision=precision)
    torch.testing.assert_close(
        half.encode_image(images), full.encode_image(images), rtol=0, atol=atol
    )
    features = half.encode_text(['with boats'])
    assert features.dtype == torch.float32
    torch.testing.assert_close(features, full.encode_text(['with boats']), rtol=0, atol=atol)
    assert not torch.equal(features, full.encode_text(['with boats']))


def test_a_long_text_is_cut_with_a_warning():
    model, long = tiny(), 'red roof ' * 60
    with pytest.warns(UserWarning, match='longer than the 77 tokens of the model and is cut: "red'):
        tokens = model.tokenize(['a pool', long])
    assert tokens.shape == (2, 77)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        model.tokenize(['x ' * 75])  # 75 tokens, start and end fit exactly


def test_a_longer_context_is_used():
    long = dict(ARCH, text_cfg=dict(ARCH['text_cfg'], context_length=130))
    model = ComposedRetriever(long).eval()
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        tokens = model.tokenize(['red roof ' * 60])
    assert tokens.shape == (1, 130) and (tokens[0, 100:120] != 0).all()


@pytest.fixture
def siglip_tokenizer(tmp_path):
    """A tokenizer of whole words in the format of Hugging Face, as SigLIP's files have it."""
    tokenizers = pytest.importorskip('tokenizers', reason='needs the extra siglip')
    pytest.importorskip('transformers', reason='needs the extra siglip')
    words = {word: i for i, word in enumerate(['<pad>', '</s>', '<unk>', 'red', 'roof'])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, '<unk>'))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single='$A </s>', special_tokens=[('</s>', 1)]
    )
    tokenizer.save(str(tmp_path / 'tokenizer.json'))
    (tmp_path / 'tokenizer_config.json').write_text(
        json.dumps(
            dict(
                tokenizer_class='PreTrainedTokenizerFast',
                pad_token='<pad>',
                eos_token='</s>',
                unk_token='<unk>',
            )
        )
    )
    return tmp_path


def test_a_tower_with_a_tokenizer_of_its_own(siglip_tokenizer):
    arch = dict(
        ARCH,
        custom_text=True,
        init_logit_bias=-10,
        text_cfg=dict(
            context_length=8,
            vocab_size=5,
            width=16,
            heads=2,
            layers=1,
            hf_tokenizer_name='nobody/nothing',
            tokenizer_kwargs=dict(clean='canonicalize'),
            no_causal_mask=True,
            proj_bias=True,
            pool_type='last',
        ),
    )
    model = ComposedRetriever(arch, tokenizer=str(siglip_tokenizer)).eval()
    # canonical form: lower case, without punctuation
    assert model.tokenize(['A Red, ROOF!']).tolist() == [[2, 3, 4, 1, 0, 0, 0, 0]]
    with pytest.warns(UserWarning, match='longer than the 8 tokens of the model'):
        model.tokenize(['red ' * 9])
    assert model.encode_text(['red roof']).shape == (1, 16)
    lost = ComposedRetriever(arch, tokenizer=str(siglip_tokenizer / 'none'))
    with pytest.raises(MissingFileError, match='name that as model.tokenizer'):
        lost.tokenize(['red'])


def test_bad_use_is_told():
    model = tiny()
    with pytest.raises(ConfigError, match='training-free and has no loss'):
        model(torch.zeros(1, 3, 32, 32), mode='loss')
    with pytest.raises(ConfigError, match='inputs needs `image`, `text`, or both'):
        model({})
    with pytest.raises(ConfigError, match='set the `size` of OpenCLIPPreprocess'):
        model(torch.zeros(1, 3, 48, 32))
    with pytest.raises(
        ConfigError, match='not an architecture of open_clip; did you mean .*ViT-L-14'
    ):
        ComposedRetriever('ViT-L14')
    with pytest.raises(ConfigError, match="model.precision='half': choose one of fp32, fp16, bf16"):
        ComposedRetriever(ARCH, precision='half')


def test_identity_follows_the_normalisation():
    other = ComposedRetriever(
        ARCH, data_preprocessor=dict(type='ComposedDataPreprocessor', mean=(0.5, 0.5, 0.5))
    )
    other.clip.load_state_dict(tiny().clip.state_dict())
    assert other.identity()['weights'] == tiny().identity()['weights']
    assert other.identity() != tiny().identity()


def test_random_weights_are_told():
    with patch('rs_mm.models.composed_retriever.print_log') as log:
        tiny().init_weights()
    assert log.call_args.args[0] == 'model.init_cfg names no weights: they are random'


def test_identity_follows_the_weights():
    first, second = tiny(), tiny()
    assert first.identity() == second.identity()
    with torch.no_grad():
        second.clip.logit_scale += 1
    assert first.identity()['weights'] != second.identity()['weights']


def test_a_registered_name_builds():
    model = MODELS.build(dict(type='ComposedRetriever', arch=ARCH))
    assert isinstance(model.clip, open_clip.CLIP)
