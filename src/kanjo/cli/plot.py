"""``kanjo plot``: what a recording looks like, and what a network sees of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kanjo.cli.common import say
from kanjo.errors import RecipeError

if TYPE_CHECKING:
    from kanjo.evaluation.reports.figures import Picture
    from kanjo.train.config.schema import Recipe
    from kanjo.train.features.log_mel import LogMel

app = typer.Typer(
    help="Pictures: a waveform, a log-mel, a DCNN's segments.", no_args_is_help=True, rich_markup_mode=None
)

File = Annotated[Path, typer.Argument(metavar="FILE", help="A recording.")]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", help="A PNG or SVG file (default: FILE's name beside you).")
]
RecipeOption = Annotated[
    str, typer.Option("--recipe", help="Whose front end: a recipe in the box, or a YAML or JSON file.")
]


@app.command()
def wave(file: File, output: Output = None) -> None:
    """The waveform.

    Example: kanjo plot wave clip.wav -o clip.png
    """
    from kanjo import audio
    from kanjo.evaluation.reports import figures

    with audio.open_source(file) as source:
        signal, rate = source.signal(), source.native_rate
    _write(figures.waveform(signal, rate, file.name), file, output, "wave")


@app.command()
def mel(file: File, output: Output = None, recipe: RecipeOption = "cnn-lstm-2d") -> None:
    """The log-mel spectrogram as a recipe's network sees it: 128 x 251 of 8 s for cnn-lstm-2d.

    Example: kanjo plot mel clip.wav -o mel.png
    """
    from kanjo import audio
    from kanjo.evaluation.reports import figures

    experiment, frontend = _frontend(recipe)
    from kanjo.train.features.spectrogram_images import log_mels_of

    signal = audio.load(file, experiment.audio.sample_rate)
    (feature,) = log_mels_of(frontend, [signal], experiment.audio.window)
    hop_s = frontend.power.hop_length / experiment.audio.sample_rate
    title = f"{file.name}, {feature.shape[0]} mels x {feature.shape[1]} frames"
    _write(figures.log_mels([feature], [title], hop_s), file, output, "mel")
    say(f"{feature.shape[0]} mels x {feature.shape[1]} frames")


@app.command()
def segments(file: File, output: Output = None, recipe: RecipeOption = "dcnn-blstm-attention") -> None:
    """The three-channel segments that a network of two stages reads: static, delta and delta-delta log-mels.

    Example: kanjo plot segments clip.wav -o segments.png
    """
    from kanjo import audio
    from kanjo.evaluation.reports import figures

    experiment, frontend = _frontend(recipe)
    from kanjo.train.config.models import DcnnBlstmSection
    from kanjo.train.features.spectrogram_images import segments_of

    if not isinstance(experiment.network, DcnnBlstmSection):
        raise RecipeError(f"{recipe}: its network reads no segments; dcnn-blstm-attention's does")
    section = experiment.network.segment
    signal = audio.load(file, experiment.audio.sample_rate)
    found = segments_of(frontend, signal, section.frames, section.hop)
    _write(figures.segments(found), file, output, "segments")
    say(f"{len(found)} segments of {' x '.join(map(str, found[0].shape))}")


def _frontend(name: str) -> tuple[Recipe, LogMel]:
    from kanjo.experiments.pipeline import experiment_of

    experiment = experiment_of(name, None, None, None)
    from kanjo.train.features.log_mel import LogMel
    from kanjo.train.tasks.base import frontend_of

    frontend = frontend_of(experiment)
    if not isinstance(frontend, LogMel):
        raise RecipeError(f"{name}: its network hears raw samples, no log-mels; 'kanjo plot wave' shows them")
    return experiment, frontend


def _write(picture: Picture, file: Path, output: Path | None, what: str) -> None:
    from kanjo.evaluation.reports import figures

    place = output or Path(f"{file.stem}-{what}.png")
    figures.save(picture, place)
    print(place)
