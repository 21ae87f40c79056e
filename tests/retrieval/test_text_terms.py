import pytest
import torch
import torch.nn.functional as F

from rs_mm.errors import ConfigError, DataError
from rs_mm.retrieval.text_terms import Term, class_features, encode_terms, read_terms

WORDS = {'a harbor': 0, 'boats': 1, 'sand': 2}


def encode(texts):
    return torch.eye(3)[[WORDS[text] for text in texts]]


def test_terms_are_weighted():
    terms = read_terms('a harbor but without boats', more=['sand=0.25'])
    assert terms == [Term('a harbor', 1), Term('boats', -0.5), Term('sand', 0.25)]
    torch.testing.assert_close(
        encode_terms(terms, encode), F.normalize(torch.tensor([1, -0.5, 0.25]), dim=0)
    )
    assert read_terms(None, ['sand=1'], ['boats']) == [Term('sand', 1), Term('boats', -0.5)]
    assert read_terms('   ') == [] == read_terms(None)
    torch.testing.assert_close(encode_terms(read_terms('boats'), encode), torch.eye(3)[1])


def test_bad_terms_are_told():
    for bad in ('boats', 'boats=', '=2', 'boats=many', 'boats=nan'):
        with pytest.raises(ConfigError, match='not of the form TEXT=WEIGHT'):
            read_terms('sand', [bad])
    with pytest.raises(ConfigError, match='has only negative terms'):
        read_terms(without=['boats'])
    with pytest.raises(DataError, match='cancel each other out'):
        encode_terms([Term('sand', 1), Term('sand', -1)], encode)


def test_class_features_are_means_over_templates():
    def by_length(texts):
        return F.normalize(torch.tensor([[len(text), 1.0] for text in texts]))

    mine = class_features(['sea', 'airport'], by_length, ['{}', 'x {}'])
    expected = F.normalize(by_length(['airport', 'x airport']).mean(0), dim=0)
    torch.testing.assert_close(mine[1], expected)
    with pytest.raises(ConfigError, match="template 'x' has no {}"):
        class_features(['sea'], by_length, ['x'])
