"""What every corpus says of itself, and the small things that their readers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from kanjo import audio
from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError
from kanjo.files import reason

Reader = Callable[[Path], Iterator[Utterance]]


@dataclass(frozen=True)
class Corpus:
    """A published corpus: what it is, what should be there, and how its layout is read.

    ``emotions`` maps each of the corpus's own labels to how many utterances the publication counts; ``folders`` are the
    names under which it is looked for below a folder of corpora.
    """

    name: str
    title: str
    language: str
    licence: str
    homepage: str
    citation: str
    how_to_get: str
    emotions: Mapping[str, int]
    n_speakers: int
    sample_rate: int
    read: Reader
    folders: tuple[str, ...] = ()
    notes: str = ""

    @property
    def n_files(self) -> int:
        return sum(self.emotions.values())


def recordings(root: Path, corpus: str) -> list[Path]:
    """Every recording under ``root``, sorted. Raises CorpusError for a folder that isn't one or can't be read."""
    try:
        if not root.is_dir():
            said = "a file, expected the corpus's folder" if root.exists() else "no such folder"
            raise CorpusError(f"{corpus}: {root}: {said}")
        next(root.iterdir(), None)
    except OSError as error:
        raise CorpusError(f"{corpus}: can't read {root}: {reason(error)}") from error
    return list(audio.find(root))


def nothing_found(corpus: str, root: Path, expected: str) -> CorpusError:
    """The error for a folder in which no utterance of the corpus was found."""
    return CorpusError(f"{corpus}: no utterances under {root}; expected {expected}")
