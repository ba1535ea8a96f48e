"""Which utterances are of speakers that a bundle was not trained on.

A speaker is identified by corpus and name. Own tables and folders may state no corpus. Then nothing says whether
speaker 01 is the training speaker 01 of a corpus or another person, and such utterances are not held out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kanjo.bundle import BundleMetadata
    from kanjo.corpora import Manifest, Utterance

#: Corpora with the speakers of another corpus, under the same names.
_SAME_SPEAKERS = {"ravdess-song": "ravdess", "aihub-first": "aihub"}
_MAX_NAMES = 3


@dataclass(frozen=True)
class HeldOut:
    """The utterances of a manifest, divided by what is known about their speakers.

    Attributes:
        rows: Utterances that may be scored. Their speakers are no training speakers, or, where the corpus is unknown,
            do not have the name of one.
        n_training: Utterances of training speakers.
        n_unclear: Utterances whose corpus is unknown and whose speaker has the name of a training speaker.
        notes: Sentences for the user about unclear utterances and unknown corpora.
    """

    rows: tuple[Utterance, ...]
    n_training: int
    n_unclear: int
    notes: tuple[str, ...]

    @property
    def n_omitted(self) -> int:
        """Utterances that are not scored."""
        return self.n_training + self.n_unclear


def find_held_out(metadata: BundleMetadata, manifest: Manifest) -> HeldOut:
    """Find the utterances of speakers that a bundle was not trained on.

    Utterances without speaker are left out if the bundle was trained on their corpus.

    Args:
        metadata: The bundle's metadata.
        manifest: The utterances.
    """
    corpora_of_name = _training_corpora_by_name(metadata)
    train_corpora = {description.get("name", "") for description in metadata.corpora}
    rows, unclear, n_training = [], [], 0
    unknown_speakers, n_without_speaker = set(), 0
    for row in manifest.utterances:
        corpora, corpus = corpora_of_name.get(_fold_name(row.speaker), set()), _same_speakers(row.corpus)
        if corpus in (corpora if row.speaker else train_corpora):
            n_training += 1
        elif corpora_of_name and row.corpus == manifest.assumed_corpus and row.corpus not in train_corpora:
            if row.speaker and corpora:
                unclear.append(row)
                continue
            rows.append(row)
            unknown_speakers.add(row.speaker)
            n_without_speaker += not row.speaker
        else:
            rows.append(row)
    notes = _describe_unclear(unclear, corpora_of_name)
    if unknown_speakers:
        notes.append(_describe_unknown(manifest.assumed_corpus, len(unknown_speakers - {""}), n_without_speaker))
    return HeldOut(tuple(rows), n_training, len(unclear), tuple(notes))


def describe_none_held_out(held_out: HeldOut) -> str:
    """Say why no utterance can be scored."""
    if held_out.n_unclear:
        return "no utterance is of a speaker that is certainly not a training speaker; " + "; ".join(held_out.notes)
    return (
        f"the bundle was trained on all {held_out.n_training} utterances of this corpus, or on others of their "
        "speakers; its own test scores are in its README.md"
    )


def _describe_unclear(unclear: Sequence[Utterance], corpora_of_name: dict[str, set[str]]) -> list[str]:
    if not unclear:
        return []
    speakers = sorted({row.speaker for row in unclear})
    corpora = sorted({corpus for name in speakers for corpus in corpora_of_name[_fold_name(name)]})
    names = ", ".join(speakers[:_MAX_NAMES]) + (", ..." if len(speakers) > _MAX_NAMES else "")
    return [
        f"omitted: {len(unclear)} utterances of speakers ({names}) who have the names of training speakers of "
        f"{' and '.join(corpora)}, because {unclear[0].corpus} states no corpus; kanjo evaluate --corpus NAME names it "
        "(any other name if they are other people)"
    ]


def _describe_unknown(name: str, n_speakers: int, n_without_speaker: int) -> str:
    whose = f"the names of its {n_speakers} scored speakers differ from those of all training speakers"
    if n_without_speaker:
        without = f"{n_without_speaker} scored utterances have no speaker and may be of training speakers"
        whose = f"{whose}, {without}" if n_speakers else without
    return f"the corpus of {name} is unknown: {whose} (kanjo evaluate --corpus NAME names it)"


def _training_corpora_by_name(metadata: BundleMetadata) -> dict[str, set[str]]:
    """Return the corpora of each name of a training speaker."""
    corpora: dict[str, set[str]] = {}
    for key in metadata.split.get("train_speakers", ()):
        corpus, _, speaker = str(key).partition("/")
        corpora.setdefault(_fold_name(speaker), set()).add(_same_speakers(corpus))
    return corpora


def _same_speakers(corpus: str) -> str:
    return _SAME_SPEAKERS.get(corpus, corpus)


def _fold_name(speaker: str) -> str:
    """Return a name in the form in which names are compared: speaker 11 of one list is 0011 of another."""
    name = speaker.casefold()
    return name.lstrip("0") or "0" if name.isascii() and name.isdecimal() else name
