"""ESD (Zhou et al. 2021, arXiv 2010.14794): ``SSSS/Emotion/SSSS_NNNNNN.wav`` and ``SSSS/SSSS.txt``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kanjo.corpora.corpus import Corpus, lines_of, nothing_found, recordings
from kanjo.corpora.manifest import Utterance
from kanjo.errors import CorpusError
from kanjo.labels import canonical

_STEM = re.compile(r"(?P<speaker>\d{4})_(?P<number>\d{6})")
_EMOTIONS = ("Neutral", "Angry", "Happy", "Sad", "Surprise")
_PER_SPEAKER = 350  # utterances of one emotion, numbered through in the order above
_FEMALE = frozenset(["0001", "0002", "0003", "0007", "0009", "0015", "0016", "0017", "0018", "0019"])


def read(root: Path) -> Iterator[Utterance]:
    """Utterances of both languages, speakers 0001-0010 Mandarin and 0011-0020 English. Raises CorpusError.

    The emotion is the folder's; where the text file disagrees, that is an error, for one of the two was tampered with.
    """
    texts: dict[str, dict[str, tuple[str, str]]] = {}
    found = False
    for path in recordings(root, "esd"):
        match = _STEM.fullmatch(path.stem)
        raw = next((part for part in reversed(path.parts[:-1]) if part in _EMOTIONS), None)
        if match is None or raw is None:
            continue
        found = True
        speaker = match["speaker"]
        if speaker not in texts:
            texts[speaker] = _texts(root, path, speaker)
        text, said = texts[speaker].get(path.stem, ("", raw))
        if canonical(said) != canonical(raw):
            raise CorpusError(f"esd: {path} lies under {raw}, but {speaker}.txt calls it {said}")
        yield Utterance(
            corpus="esd",
            file=path.relative_to(root).as_posix(),
            emotion=canonical(raw),
            labels_raw=raw,
            speaker=speaker,
            sex="female" if speaker in _FEMALE else "male",
            language="en" if int(speaker) > 10 else "zh",
            text=text,
        )
    if not found:
        raise nothing_found("esd", root, "files such as 0019/Angry/0019_000375.wav")


def missing(root: Path) -> list[str]:
    """Recordings that the speakers' text files list and that are not there."""
    there = {path.stem: path for path in recordings(root, "esd")}
    speakers = {match["speaker"]: path for stem, path in there.items() if (match := _STEM.fullmatch(stem))}
    listed = (stem for speaker, path in sorted(speakers.items()) for stem in _texts(root, path, speaker))
    return [stem for stem in listed if stem not in there and _STEM.fullmatch(stem)]


def _texts(root: Path, recording: Path, speaker: str) -> dict[str, tuple[str, str]]:
    """``{stem: (text, emotion)}`` of ``SSSS.txt``, UTF-8 or UTF-16; empty where there is no such file.

    Cells are separated by tabs, or, as in some copies, by spaces: then the first word is the stem and the last the emotion.
    """
    above = (folder / f"{speaker}.txt" for folder in recording.parents if folder == root or root in folder.parents)
    table = next((path for path in above if path.is_file()), None)
    if table is None:
        return {}
    found = {}
    for line in lines_of(table, "esd", ("utf-8-sig", "gb18030")):
        cells = [cell.strip() for cell in line.split("\t") if cell.strip()]
        if len(cells) < 3:
            words = line.split()
            cells = [words[0], " ".join(words[1:-1]), words[-1]] if len(words) >= 3 else []
        if cells:
            found[cells[0]] = (cells[1], cells[2])
    return found


ESD = Corpus(
    name="esd",
    title="Emotional Speech Dataset (ESD)",
    language="en, zh",
    licence="research only",
    homepage="https://hltsingapore.github.io/ESD/",
    citation="K. Zhou, B. Sisman, R. Liu, H. Li. Seen and unseen emotional style transfer for voice conversion with a "
    "new emotional speech dataset. ICASSP 2021, arXiv 2010.14794.",
    how_to_get="Sign the form on the homepage; unpack the archive.",
    emotions=dict.fromkeys(_EMOTIONS, 20 * _PER_SPEAKER),
    n_speakers=20,
    sample_rate=16_000,
    read=read,
    missing=missing,
    folders=("esd", "ESD", "Emotional Speech Dataset (ESD)"),
)
