"""``kanjo enroll``: the profile of a speaker, from a few recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kanjo.cli.common import Jobs, Model, Silent, print_message, progress_bar
from kanjo.cli.inputs import find_inputs, predict_inputs
from kanjo.cli.terminal import pad
from kanjo.errors import AudioError, KanjoError
from kanjo.inference import speaker_profiles
from kanjo.inference.options import InferenceOptions
from kanjo.inference.prediction import Prediction
from kanjo.inference.recognizer import Recognizer, load


def enroll(
    name: Annotated[str, typer.Argument(help="Name of the speaker, for predict --speaker.", show_default=False)] = "",
    paths: Annotated[
        list[str] | None,
        typer.Argument(help="Recordings of the speaker, folders, or patterns.", show_default=False),
    ] = None,
    model: Model = "default",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Write the profile into this .json file, under no name."),
    ] = None,
    list_speakers: Annotated[bool, typer.Option("--list", help="List the enrolled speakers.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Remove the profile of NAME.")] = False,
    jobs: Jobs = 0,
    silent: Silent = False,
) -> None:
    """Make a profile of a speaker; predictions with a profile are more accurate.

    Five to twenty recordings of a few seconds each, with different emotions, are enough; labels are not needed.
    The weight, 0 to 1, says how far predictions rely on the profile: it grows with the number of recordings and with
    the variety of their emotions. A profile is a few kilobytes of numbers; it contains no audio.

    Example: kanjo enroll ana ana/*.wav
    """
    if list_speakers:
        _print_speakers()
        return
    if remove:
        _remove(name)
        return
    if not name or not paths:
        raise typer.BadParameter("expected a name and recordings: kanjo enroll NAME RECORDINGS...")
    if output is not None and output.suffix != ".json":
        raise typer.BadParameter(f"{output}: expected a name that ends in .json")
    speaker_profiles.profile_path(name)  # report an invalid name before recordings are decoded
    recognizer = load(model)
    recognizer.check_enrollment()
    predictions = _predict(recognizer, paths, jobs, silent)
    profile = speaker_profiles.build_profile(name, recognizer.metadata, predictions)
    path = speaker_profiles.write_profile(profile, output)
    n_recordings = f"{profile.clips} recording{'s' if profile.clips != 1 else ''}"
    print(
        f"{name}: {n_recordings}, {profile.speech_s:.1f} s of speech, weight {profile.weight:.2f}; "
        f"profile written to {path}"
    )
    for shortcoming in speaker_profiles.describe_shortcomings(profile):
        print_message(f"kanjo: {shortcoming}")
    if not profile.weight:
        print_message("kanjo: the profile has no weight yet: predictions with it equal predictions without it")


def _print_speakers() -> None:
    names = speaker_profiles.list_profiles()
    if not names:
        print_message("no speakers are enrolled; enroll one with: kanjo enroll NAME RECORDINGS...")
    for name in names:
        profile = speaker_profiles.read_profile(name)
        amount = f"{profile.clips:>5} recordings{profile.speech_s:>8.0f} s of speech   weight {profile.weight:.2f}"
        print(f"{pad(name, 24)}{amount}   {profile.bundle}")


def _remove(name: str) -> None:
    path = speaker_profiles.profile_path(name)
    if not path.is_file():
        enrolled = ", ".join(speaker_profiles.list_profiles()) or "no speakers"
        raise KanjoError(f"speaker {name} is not enrolled; enrolled: {enrolled}")
    path.unlink()
    print_message(f"removed: {name}")


def _predict(recognizer: Recognizer, paths: list[str], jobs: int, silent: bool) -> list[Prediction]:
    """The predictions of the recordings. Raises AudioError if one of them fails."""
    inputs = find_inputs(paths)
    predictions, n_failed = [], 0
    with progress_bar("enrolling", silent) as progress:
        for done, prediction in enumerate(predict_inputs(recognizer, inputs, InferenceOptions(), jobs), 1):
            predictions.append(prediction)
            progress(done, len(inputs))
            if prediction.error:
                n_failed += 1
                print_message(f"kanjo: {prediction.file}: {prediction.error}")
    if n_failed:
        raise AudioError(f"{n_failed} of {len(inputs)} recordings can't be decoded; no profile was written")
    return predictions
