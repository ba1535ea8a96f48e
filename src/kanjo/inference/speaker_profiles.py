"""Knowing a speaker: a small profile, made of a few of their recordings in whatever emotion, that answers are then measured against.

A profile is the mean of the network's embeddings of those recordings. No label is needed, no sound can be made of it again, and it is of use only
with the bundle that made it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from kanjo import files
from kanjo.bundle import Facts
from kanjo.errors import KanjoError

FORMAT_VERSION = 1
#: Fewer recordings than this, or less speech (s), tell more of their emotion than of the speaker.
FEW, LITTLE_S = 5, 10.0
_NAME = re.compile(r"[^\W_][\w .@+-]{0,63}")


@dataclass(frozen=True, eq=False)
class Profile:
    """What is known of a speaker: ``mean`` (D,) of their embeddings, made by the bundle whose graph has ``sha256``."""

    name: str
    bundle: str
    sha256: str
    clips: int
    speech_s: float
    mean: npt.NDArray[np.float32]

    def as_dict(self) -> dict[str, Any]:
        """As it goes into JSON."""
        return {
            "format_version": FORMAT_VERSION, "name": self.name, "bundle": self.bundle, "sha256": self.sha256, "clips": self.clips,
            "speech_s": round(self.speech_s, 1), "mean": [round(float(value), 6) for value in self.mean],
        }  # fmt: skip


class Heard(Protocol):
    """A recording that was answered: its embedding (D,), and seconds in which somebody speaks."""

    @property
    def embedding(self) -> npt.NDArray[np.float32] | None: ...

    @property
    def speech_s(self) -> float: ...


def profile_of(name: str, facts: Facts, heard: Sequence[Heard]) -> Profile:
    """The profile of a speaker whose recordings were answered; longer ones count for as many as they have windows.

    Raises KanjoError where there is nothing to go by.
    """
    useful = [item for item in heard if item.embedding is not None and item.speech_s > 0]
    if not useful:
        raise KanjoError(
            f"{name}: no speech heard in {len(heard)} recordings; a profile needs a few in which they speak"
        )
    weights = np.asarray([max(1.0, item.speech_s / facts.window_s) for item in useful])
    mean = weights @ np.stack([item.embedding for item in useful if item.embedding is not None]) / weights.sum()
    speech_s = sum(item.speech_s for item in useful)
    return Profile(name, facts.name, facts.sha256, len(useful), speech_s, np.asarray(mean, np.float32))


def profile_from(content: Any, where: str) -> Profile:
    """A profile out of JSON's objects. Raises KanjoError for what is none."""
    if not isinstance(content, Mapping) or not isinstance(content.get("format_version"), int):
        raise KanjoError(f"{where}: not a speaker's profile; 'kanjo enroll' makes one")
    if content["format_version"] > FORMAT_VERSION:
        raise KanjoError(
            f"{where}: profile format {content['format_version']}, this kanjo reads up to {FORMAT_VERSION}"
        )
    try:
        mean = np.asarray(content["mean"], np.float32)
        if mean.ndim != 1 or not mean.size or not np.isfinite(mean).all():
            raise ValueError("mean is no list of numbers")
        return Profile(
            str(content["name"]), str(content["bundle"]), str(content["sha256"]), int(content["clips"]), float(content["speech_s"]), mean
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise KanjoError(f"{where}: a damaged profile ({error}); enroll the speaker anew") from error


def folder() -> Path:
    """Where profiles are kept: ``KANJO_SPEAKERS``, or ``kanjo/speakers`` in the user's data folder."""
    if own := os.environ.get("KANJO_SPEAKERS"):
        return Path(own)
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "kanjo" / "speakers"


def path_of(name: str) -> Path:
    """Where a speaker's profile is kept. Raises KanjoError for a name that can be no file's."""
    if not _NAME.fullmatch(name) or name.endswith((" ", ".")):
        raise KanjoError(
            f"speaker {name!r}: expected letters, digits, spaces and . @ + - _, at most 64, a letter or digit first"
        )
    return folder() / f"{name}.json"


def known() -> list[str]:
    """The speakers who are enrolled here."""
    return sorted(path.stem for path in folder().glob("*.json"))


def write(profile: Profile, path: Path | None = None) -> Path:
    """Keep a profile under its speaker's name, or at ``path``. Raises KanjoError."""
    path = path or path_of(profile.name)
    files.write_text(path, json.dumps(profile.as_dict(), ensure_ascii=False) + "\n")
    return path


def read(name: str | Path) -> Profile:
    """The profile of a speaker who was enrolled, or the one in a ``.json`` file. Raises KanjoError."""
    path = Path(name) if str(name).endswith(".json") else path_of(str(name))
    try:
        return profile_from(json.loads(path.read_text(encoding="utf-8")), str(path))
    except FileNotFoundError as error:
        there = ", ".join(known()) or "nobody"
        raise KanjoError(
            f"no speaker {name} ({path} is not there); enrolled: {there}. 'kanjo enroll NAME CLIPS...' makes a profile"
        ) from error
    except OSError as error:
        raise KanjoError(f"can't read {path}: {files.reason(error)}") from error
    except ValueError as error:
        raise KanjoError(f"{path}: not JSON ({error}); enroll the speaker anew") from error


def takes_speakers(facts: Facts) -> None:
    """Raises KanjoError for a bundle whose network takes no speaker."""
    if not facts.speaker_size:
        raise KanjoError(
            f"the bundle {facts.name} takes no speaker: its network was trained without (network.speaker in its recipe)"
        )


def vector_of(speaker: Profile | str | Path | None, facts: Facts) -> npt.NDArray[np.float32] | None:
    """What a graph takes of a speaker: their mean embedding and a 1, (D + 1,). Raises KanjoError for a profile of another bundle."""
    if speaker is None:
        return None
    takes_speakers(facts)
    profile = speaker if isinstance(speaker, Profile) else read(speaker)
    if profile.sha256 != facts.sha256 or len(profile.mean) != facts.speaker_size:
        raise KanjoError(
            f"speaker {profile.name} was enrolled with the bundle {profile.bundle} ({profile.sha256[:12]}), this one is {facts.name} "
            f"({facts.sha256[:12]}): enroll them again with it"
        )
    return np.append(profile.mean, np.float32(1))
