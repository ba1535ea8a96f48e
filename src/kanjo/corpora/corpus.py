"""What every corpus says of itself, and the small things that their readers share."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kanjo import audio
from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError
from kanjo.files import reason
from kanjo.labels import canonical

Reader = Callable[[Path], Iterator[Utterance]]


@dataclass(frozen=True)
class Archive:
    """A file that a publication offers: where, its digest ("md5:...", "sha256:..." or "" where none is published), its size.

    ``size`` is bytes (0: not known). ``place`` is where it goes below the corpus's folder: a folder for an archive (zip, tar),
    which is unpacked there, else the file's own name. Of an archive only what lies under ``only`` is taken ("" all), without the
    one folder that holds everything, where there is one.
    """

    url: str
    digest: str = ""
    size: int = 0
    place: str = ""
    only: str = ""


Archives = tuple[Archive, ...]


@dataclass(frozen=True)
class Corpus:
    """A published corpus: what it is, what should be there, and how its layout is read.

    ``emotions`` maps each of the corpus's own labels to how many utterances the publication counts (0: it doesn't say;
    ``n_utterances`` where it counts them all together); ``sample_rate`` is Hz (0: it doesn't say).
    ``folders`` are the names under which it is looked for below a folder of corpora; ``also`` are further things that a
    check counts; ``missing`` names what the corpus's own tables list and is not there. ``archives`` is what a download
    fetches, none where the corpus must be asked for, and ``more`` what can only be told from those once they are unpacked.
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
    n_utterances: int = 0
    folders: tuple[str, ...] = ()
    notes: str = ""
    also: Mapping[str, Callable[[Path], int]] = field(default_factory=dict)
    missing: Callable[[Path], Sequence[str]] | None = None
    archives: Archives = ()
    more: Callable[[Path], Iterator[Archive]] | None = None

    @property
    def n_files(self) -> int:
        return self.n_utterances or sum(self.emotions.values())


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


@dataclass(frozen=True)
class Named:
    """What a recording's name and place say: the corpus's own label, its emotion where that is no word, and the rest."""

    label: str
    speaker: str = ""
    sex: str = ""
    text: str = ""
    language: str = ""
    emotion: str = ""
    split: str = ""


def by_name(
    root: Path, corpus: str, language: str, name: Callable[[Path], Named | None], expected: str
) -> Iterator[Utterance]:
    """Utterances of a corpus whose recordings' names say what they are; ``name`` gives None for foreign files.

    ``expected`` ends the error's sentence when there is none: CorpusError.
    """
    found = False
    for path in recordings(root, corpus):
        said = name(path.relative_to(root))
        if said is None:
            continue
        found = True
        yield Utterance(
            corpus=corpus,
            file=path.relative_to(root).as_posix(),
            emotion=said.emotion or canonical(said.label),
            labels_raw=said.label,
            speaker=said.speaker,
            sex=said.sex,
            language=said.language or language,
            text=said.text,
            split=said.split,
        )
    if not found:
        raise nothing_found(corpus, root, expected)


def text_of(path: Path, corpus: str, encodings: Sequence[str] = ("utf-8-sig",)) -> str:
    """A text file's content in the first encoding that fits; UTF-16 by its mark. Raises CorpusError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{corpus}: can't read {path}: {reason(error)}") from error
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings = ("utf-16",)
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise CorpusError(f"{corpus}: {path} is not text in {' or '.join(encodings)}")


def lines_of(path: Path, corpus: str, encodings: Sequence[str] = ("utf-8-sig",)) -> list[str]:
    """A text file's lines: those that end in a line feed, for a text may hold Unicode's other breaks. Raises CorpusError."""
    return [line.rstrip("\r") for line in text_of(path, corpus, encodings).rstrip("\r\n").split("\n")]


def table_of(path: Path, corpus: str, encodings: Sequence[str] = ("utf-8-sig",)) -> io.StringIO:
    """The same for the csv module, which itself knows where a line ends: not within quotes, nor at Unicode's other breaks."""
    return io.StringIO(text_of(path, corpus, encodings), newline="")


def nothing_found(corpus: str, root: Path, expected: str) -> CorpusError:
    """The error for a folder in which no utterance of the corpus was found."""
    return CorpusError(f"{corpus}: no utterances under {root}; expected {expected}")
