"""``kanjo enroll``: a speaker's profile, from a few of their recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kanjo.cli.common import Jobs, Model, Silent, progress, say
from kanjo.cli.predict import How, expanded, predictions
from kanjo.errors import AudioError, KanjoError
from kanjo.inference import speaker_profiles
from kanjo.inference.recognizer import load


def register(app: typer.Typer) -> None:
    app.command()(enroll)


def enroll(
    name: Annotated[str, typer.Argument(help="The speaker's name, for predict --speaker.", show_default=False)] = "",
    paths: Annotated[
        list[str] | None, typer.Argument(help="Recordings of that speaker, folders or patterns.", show_default=False)
    ] = None,
    model: Model = "default",
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Write the profile here (.json) instead of keeping it under the name."),
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="Who is enrolled.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Forget NAME.")] = False,
    jobs: Jobs = 0,
    silent: Silent = False,
) -> None:
    """Make a speaker's profile of a few recordings, in whatever emotions; answers for them are surer with it.

    Five to twenty recordings of a few seconds, of different moods, do. The profile is numbers (some kB); no recording is kept.

    Example: kanjo enroll ana ana/*.wav
    """
    if listing:
        for known in speaker_profiles.known():
            profile = speaker_profiles.read(known)
            print(f"{known:<24}{profile.clips:>5} recordings{profile.speech_s:>8.0f} s of speech   {profile.bundle}")
        return
    if remove:
        path = speaker_profiles.path_of(name)
        if not path.is_file():
            raise KanjoError(f"no speaker {name}; enrolled: {', '.join(speaker_profiles.known()) or 'nobody'}")
        path.unlink()
        say(f"forgotten: {name}")
        return
    if not name or not paths:
        raise typer.BadParameter("expected a name and recordings: kanjo enroll NAME CLIPS...")
    if output is not None and output.suffix != ".json":
        raise typer.BadParameter(f"{output}: expected a name that ends in .json")
    speaker_profiles.path_of(name)  # a name that can't be kept is said before anything is heard
    recognizer = load(model)
    recognizer.enrollable()
    inputs = list(expanded(paths))
    heard, bad = [], 0
    with progress("listening", silent) as show:
        for done, answer in enumerate(predictions(recognizer, inputs, How(), jobs), 1):
            heard.append(answer)
            show(done, len(inputs))
            if answer.error:
                bad += 1
                say(f"kanjo: {answer.file}: {answer.error}")
    if bad:
        raise AudioError(f"{bad} of {len(inputs)} recordings can't be heard; no profile was made")
    profile = speaker_profiles.profile_of(name, recognizer.facts, heard)
    path = speaker_profiles.write(profile, output)
    print(f"{name}: {profile.clips} recordings, {profile.speech_s:.1f} s of speech: {path}")
    if profile.clips < speaker_profiles.FEW or profile.speech_s < speaker_profiles.LITTLE_S:
        say(
            f"kanjo: that is little; from {speaker_profiles.FEW} recordings of different moods on, a profile tells the voice from the mood"
        )
