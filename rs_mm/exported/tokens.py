"""CLIP's byte-pair tokens without torch, ftfy or regex.

The vocabulary is the file of open_clip, which the export copies beside the network. Text is cleaned
as in open_clip, except for ftfy's repair of wrongly decoded text: quotes are made straight and
Unicode is composed, as ftfy does with correctly decoded text.
"""

from __future__ import annotations

import gzip
import html
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np

_QUOTES = str.maketrans({'\u2018': "'", '\u2019': "'", '\u201c': '"', '\u201d': '"'})
_MERGES = 49152 - 256 - 2


class Tokenizer:
    """A tokenizer from texts to token ids of CLIP.

    Args:
        vocabulary: the gzipped list of merges.
        length: tokens of a text; longer texts are cut.
    """

    def __init__(self, vocabulary: str | Path, length: int = 77) -> None:
        with gzip.open(vocabulary, 'rt', encoding='utf-8') as file:
            lines = file.read().split('\n')
        merges = [tuple(line.split()) for line in lines[1 : _MERGES + 1]]
        letters = list(_byte_letters().values())
        words = [*letters, *(letter + '</w>' for letter in letters), *map(''.join, merges)]
        self._ids = {word: i for i, word in enumerate(words)}
        self._ranks = {merge: i for i, merge in enumerate(merges)}
        self._start, self._end = len(words), len(words) + 1
        self.length = length

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Returns token ids (N, length) int64, padded with 0."""
        found = np.zeros((len(texts), self.length), np.int64)
        for row, text in zip(found, texts):
            ids = [self._start, *self._encode(text), self._end]
            if len(ids) > self.length:
                ids = [*ids[: self.length - 1], self._end]
            row[: len(ids)] = ids
        return found

    def _encode(self, text):
        text = unicodedata.normalize('NFC', text).translate(_QUOTES)
        text = ' '.join(html.unescape(html.unescape(text)).split()).lower()
        letters = _byte_letters()
        for word in _words(text):
            pieces = self._merge(''.join(letters[byte] for byte in word.encode('utf-8')))
            yield from (self._ids[piece] for piece in pieces)

    def _merge(self, word):
        pieces = [*word[:-1], word[-1] + '</w>']
        while len(pieces) > 1:
            pairs = list(zip(pieces, pieces[1:]))
            best = min(pairs, key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            joined, i = [], 0
            while i < len(pieces):
                whole = tuple(pieces[i : i + 2]) == best
                joined.append(''.join(best) if whole else pieces[i])
                i += 2 if whole else 1
            pieces = joined
        return pieces


def _words(text):
    """Splits a text into contractions, runs of letters, single numerals, and runs of other
    characters."""
    kinds = ''.join(
        'L' if unicodedata.category(c)[0] == 'L' else 'N' if unicodedata.category(c)[0] == 'N'
        else ' ' if c.isspace() else 'x'
        for c in text
    )  # fmt: skip
    place = 0
    while place < len(text):
        short = re.match("'(?:s|t|re|ve|m|ll|d)", text[place:])
        end = place + short.end() if short else re.match('L+|N|x+| +', kinds[place:]).end() + place
        if kinds[place] != ' ':
            yield text[place:end]
        place = end


def _byte_letters():
    """Returns a printable letter for every byte, as in GPT-2."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {
        **{byte: chr(byte) for byte in shown},
        **{byte: chr(256 + i) for i, byte in enumerate(hidden)},
    }
