"""ESD (Zhou et al. 2021, arXiv 2010.14794): ``0019/Angry/0019_000375.wav``, texts in ``0019/0019.txt``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Corpus, first_existing_file, list_recordings, no_utterances_error, without_copies
from kanjo.corpora.manifest import Utterance
from kanjo.corpora.text_files import read_lines
from kanjo.corpora.words import normalize
from kanjo.errors import CorpusError
from kanjo.labels import canonical_emotion

_STEM = re.compile(r"(?P<speaker>\d{4})_(?P<number>\d{6})")
_EMOTIONS = ("Neutral", "Angry", "Happy", "Sad", "Surprise")
_N_SPEAKERS = 20
_UTTERANCES_PER_EMOTION = 350  # of each speaker
_FEMALE = frozenset(["0001", "0002", "0003", "0007", "0009", "0015", "0016", "0017", "0018", "0019"])


def read(root: Path) -> Iterator[Utterance]:
    """Yield the utterances of both languages: speakers 0001 to 0010 Mandarin, 0011 to 0020 English.

    The label is the name of the folder.

    Raises:
        CorpusError: There are no utterances, or a text file contradicts a folder: then one of the two was changed.
    """
    tables: dict[str, dict[str, tuple[str, str]]] = {}
    recordings = [
        ((label, path.stem), path)
        for path in list_recordings(root, "esd")
        if _STEM.fullmatch(path.stem) and (label := _label_of_folder(path))
    ]
    if not recordings:
        raise no_utterances_error("esd", root, "files such as 0019/Angry/0019_000375.wav")
    labels: dict[str, str] = {}
    for (label, stem), path in without_copies(recordings).items():
        if labels.setdefault(stem, label) != label:
            raise CorpusError(
                f"esd: {path} is in the folder {label}, but also in the folder {labels[stem]}; "
                "unpack the original archive again"
            )
        speaker = stem.partition("_")[0]
        if speaker not in tables:
            tables[speaker] = _read_texts(root, path, speaker)
        text, listed_label = tables[speaker].get(stem, ("", label))
        if canonical_emotion(listed_label) != canonical_emotion(label):
            raise CorpusError(
                f"esd: {path} is in the folder {label}, but {speaker}.txt labels it {listed_label}; "
                "unpack the original archive again"
            )
        yield Utterance(
            corpus="esd",
            file=path.relative_to(root).as_posix(),
            emotion=canonical_emotion(label),
            labels_raw=label,
            speaker=speaker,
            sex="female" if speaker in _FEMALE else "male",
            language="en" if int(speaker) > 10 else "zh",
            text=normalize(text),
        )


def _label_of_folder(path: Path) -> str:
    return next((part for part in reversed(path.parts[:-1]) if part in _EMOTIONS), "")


def list_missing(root: Path) -> list[str]:
    """List the recordings that the text files name and that do not exist."""
    existing = {path.stem: path for path in list_recordings(root, "esd")}
    speakers = {match["speaker"]: path for stem, path in existing.items() if (match := _STEM.fullmatch(stem))}
    listed = (stem for speaker, path in sorted(speakers.items()) for stem in _read_texts(root, path, speaker))
    return [stem for stem in listed if stem not in existing and _STEM.fullmatch(stem)]


def _read_texts(root: Path, recording: Path, speaker: str) -> dict[str, tuple[str, str]]:
    """Return ``{stem: (text, label)}`` of the text file of a speaker, UTF-8 or UTF-16; empty if there is no file.

    Tabs separate the cells. Some copies have spaces instead: then the first word is the stem and the last the label.
    """
    folders = (folder for folder in recording.parents if folder == root or root in folder.parents)
    table = first_existing_file(*(folder / f"{speaker}.txt" for folder in folders))
    if table is None:
        return {}
    texts = {}
    for line in read_lines(table, "esd", ("utf-8-sig", "gb18030")):
        cells = [cell.strip() for cell in line.split("\t") if cell.strip()]
        if len(cells) < 3:
            words = line.split()
            cells = [words[0], " ".join(words[1:-1]), words[-1]] if len(words) >= 3 else []
        if cells:
            texts[cells[0]] = (cells[1], cells[2])
    return texts


ESD = Corpus(
    name="esd",
    title="Emotional Speech Dataset (ESD)",
    language="en, zh",
    license="research only",
    homepage="https://hltsingapore.github.io/ESD/",
    citation="K. Zhou, B. Sisman, R. Liu, H. Li. Seen and unseen emotional style transfer for voice conversion with a "
    "new emotional speech dataset. ICASSP 2021, arXiv 2010.14794.",
    how_to_get="Sign the form on the homepage; unpack the archive.",
    emotions=dict.fromkeys(_EMOTIONS, _N_SPEAKERS * _UTTERANCES_PER_EMOTION),
    n_speakers=_N_SPEAKERS,
    sample_rate=16_000,
    read=read,
    list_missing=list_missing,
    folders=("esd", "ESD", "Emotional Speech Dataset (ESD)"),
)
