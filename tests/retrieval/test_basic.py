import numpy as np
import pytest
import torch

from rs_mm.errors import ConfigError, DataError, MissingFileError
from rs_mm.retrieval.basic import BASIC, contrastive_projection
from rs_mm.retrieval.fusion import ProductFusion, SumFusion
from rs_mm.retrieval.text_corpus import STYLES, SUBJECTS, read_corpus
from tests.parity import ROOT, load_case

from . import basic_cases

CASES = sorted(path.stem for path in (ROOT / 'basic').glob('basic_*.json'))


def neighbours_in(database):
    return lambda vectors, k: database[(vectors @ database.T).topk(k).indices]


def similarities(fusion, sets):
    database = sets['database']
    image = fusion.image_queries(sets['query'], neighbours_in(database))
    text = fusion.text_queries(sets['text'])
    return [part.vectors @ database.T + part.offsets[:, None] for part in (image, text)]


def check_ranks(scores, recorded):
    top = torch.from_numpy(recorded['top20'].astype(np.int64))
    assert scores.gather(1, top).diff(dim=1).max() < 2e-6  # descending, but for near-ties
    best = scores.topk(top.shape[1] + 1).values
    assert (scores.gather(1, top).min(1).values > best[:, -1] - 2e-6).all()


@pytest.mark.parametrize('case', CASES)
def test_official_values(case):
    manifest, recorded = load_case('basic', case)
    settings = manifest['settings']
    sets = basic_cases.features(settings)
    basic = basic_cases.method(settings, sets)
    image, text = similarities(basic, sets)
    for mine, key in (
        (image.clamp(min=0), 'sim_img'),
        (text.clamp(min=0), 'sim_text'),
        (basic.fuse(image, text), 'score'),
    ):
        np.testing.assert_allclose(mine, recorded[key], rtol=2e-5, atol=2e-5, err_msg=key)
    check_ranks(basic.fuse(image, text), recorded)
    known = basic.fitted
    if settings['project']:
        assert known.components == recorded['components']
        assert float(known.projection.trace()) == pytest.approx(recorded['projection_trace'], 1e-5)
        np.testing.assert_allclose(known.projection[0], recorded['projection_row0'], atol=1e-5)
    if settings['normalise']:
        assert known.minima == pytest.approx(
            (float(recorded['image_min']), float(recorded['text_min'])), rel=1e-5
        )


@pytest.mark.parametrize('fusion', [SumFusion(), ProductFusion(clamp=True)])
def test_official_sum_and_product(fusion):
    manifest, recorded = load_case('basic', fusion.title.lower())
    sets = basic_cases.features(manifest['settings'])
    scores = fusion(*similarities(fusion, sets))
    np.testing.assert_allclose(scores, recorded['score'], rtol=1e-5, atol=1e-6)
    check_ranks(scores, recorded)


def fake_encoder(texts):
    rng = [np.random.default_rng(sum(map(ord, text))) for text in texts]
    vectors = torch.tensor(np.stack([r.standard_normal(24) for r in rng]), dtype=torch.float32)
    return torch.nn.functional.normalize(vectors)


def test_a_text_is_put_into_context():
    subjects = read_corpus(SUBJECTS)[:100]
    expected = fake_encoder([f'{s} red' for s in subjects] + [f'red {s}' for s in subjects]).mean(0)
    mine = BASIC().encode_texts(['red', 'blue'], fake_encoder)
    torch.testing.assert_close(mine[0], expected / expected.norm())
    plain = BASIC(contextualise=False).encode_texts(['red'], fake_encoder)
    torch.testing.assert_close(plain, fake_encoder(['red']))


def test_statistics_come_from_the_archive_unless_they_are_given(tmp_path):
    archive = fake_encoder([f'image {i}' * i for i in range(1, 40)])
    own = BASIC()
    own.fit(archive.mean(0), archive, fake_encoder)
    torch.testing.assert_close(own.fitted.image_mean, archive.mean(0))
    centred = archive - archive.mean(0)
    assert own.fitted.minima.image == pytest.approx(float((centred @ centred.T).min()))
    np.save(tmp_path / 'mean.npy', np.full(24, 0.1))
    given = BASIC(image_mean=tmp_path / 'mean.npy', minima=(-0.5, -0.2))
    given.fit(archive.mean(0), archive, fake_encoder)
    assert given.fitted.image_mean.unique().tolist() == pytest.approx([0.1])
    assert given.fitted.minima == (-0.5, -0.2)
    np.save(tmp_path / 'mean.npy', np.zeros(5))
    with pytest.raises(DataError, match='holds 5 values, the features have 24'):
        given.fit(archive.mean(0), archive, fake_encoder)


def test_the_projection_keeps_no_direction_that_the_lists_lack():
    few = torch.randn(6, 40, generator=torch.Generator().manual_seed(0))
    projection, kept = contrastive_projection(few - few.mean(0), few[:3] * 0, 0.2, 250)
    assert kept == 6  # five that vary, and the one of the constant
    torch.testing.assert_close(projection @ projection, projection)


def test_packed_lists():
    subjects, styles = read_corpus(SUBJECTS), read_corpus(STYLES)
    assert {'storage tank', 'chaparral', 'coastal lagoons', 'clutter', 'viaduct'} <= {*subjects}
    assert {'kidney shaped', 'in winter', 'a radar image', 'at night'} <= {*styles}
    assert not {*subjects} & {*styles}


def test_any_csv_is_read(tmp_path):
    path = tmp_path / 'x.csv'
    for content, expected in (
        ('a\nb c\n\na\n', ['a', 'b c']),
        ('id,text\n1,"a, b"\n2,c\n', ['a, b', 'c']),
        ('\ufefftext\na\nb\n', ['a', 'b']),
    ):
        path.write_text(content, encoding='utf-8')
        assert read_corpus(path) == expected
    path.write_text('a,b\nc,d\n')
    with pytest.raises(DataError, match='names none of them "text"'):
        read_corpus(path)
    path.write_bytes('café\nb'.encode('latin-1'))
    with pytest.raises(DataError, match='x.csv, line 1: the list is not UTF-8'):
        read_corpus(path)
    with pytest.raises(MissingFileError, match='no list of phrases'):
        read_corpus(tmp_path / 'none.csv')


def test_bad_options():
    for options, message in (
        (dict(negative_weight=1.5), r'lies in \[0, 1\]; got 1.5'),
        (dict(components=0), 'keep at least one direction'),
        (dict(harris_lambda=-1), 'it is 0 or more'),
        (dict(minima=(0, 0.1)), 'the first of which divides'),
    ):
        with pytest.raises(ConfigError, match=message):
            BASIC(**options)
    with pytest.raises(ConfigError, match='call fit'):
        BASIC().text_queries(torch.zeros(1, 4))
