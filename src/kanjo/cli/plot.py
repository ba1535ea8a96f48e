"""``kanjo plot``: a recording, and the features that a model receives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kanjo.cli.common import load_recipe, print_message
from kanjo.errors import RecipeError

if TYPE_CHECKING:
    from kanjo.evaluation.reports.rendering import RenderedFigure
    from kanjo.train.config.schema import Recipe
    from kanjo.train.features.log_mel import LogMel

app = typer.Typer(
    help="Draw a waveform, its log-mel spectrogram, or its segments.", no_args_is_help=True, rich_markup_mode=None
)

Recording = Annotated[Path, typer.Argument(metavar="FILE", help="A recording.")]
OutputFile = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="FILE", help="A PNG or SVG file (default: named after the recording)."),
]
RecipeOption = Annotated[
    str, typer.Option("--recipe", metavar="RECIPE", help="Its features: a built-in recipe, or a YAML or JSON file.")
]


@app.command()
def wave(file: Recording, output: OutputFile = None) -> None:
    """Draw the waveform.

    Example: kanjo plot wave clip.wav -o clip.png
    """
    from kanjo import audio
    from kanjo.evaluation.reports.signal_plots import plot_waveform

    path = _output_path(file, output, "wave")
    with audio.open_audio(file) as source:
        signal, rate = source.signal(), source.native_rate
    _save(plot_waveform(signal, rate, file.name), path)


@app.command()
def mel(file: Recording, output: OutputFile = None, recipe: RecipeOption = "cnn-lstm-2d") -> None:
    """Draw the log-mel spectrogram of a recipe in dB, before normalization (cnn-lstm-2d: 128 x 251 for 8 s).

    Example: kanjo plot mel clip.wav -o mel.png
    """
    from kanjo import audio
    from kanjo.evaluation.reports.signal_plots import plot_log_mels

    path = _output_path(file, output, "mel")
    loaded, feature_extractor = _load_feature_extractor(recipe)
    from kanjo.train.features.spectrogram_images import decibel_images

    signal = audio.load(file, loaded.audio.sample_rate)
    (image,) = decibel_images(feature_extractor, [signal], loaded.audio.window)
    size = f"{image.shape[0]} mels x {image.shape[1]} frames"
    hop_s = feature_extractor.power.hop_length / loaded.audio.sample_rate
    figure = plot_log_mels([image], [f"{file.name}, {size}"], hop_s, feature_extractor.center_hz)
    _save(figure, path)
    print_message(size)


@app.command()
def segments(file: Recording, output: OutputFile = None, recipe: RecipeOption = "dcnn-blstm-attention") -> None:
    """Draw the segments that a model with two stages receives: log-mel spectrogram, deltas and delta-deltas.

    Example: kanjo plot segments clip.wav -o segments.png
    """
    from kanjo import audio
    from kanjo.evaluation.reports.signal_plots import plot_segments

    path = _output_path(file, output, "segments")
    loaded, feature_extractor = _load_feature_extractor(recipe)
    from kanjo.train.features.spectrogram_images import segment_images

    segment = getattr(loaded.model, "segment", None)
    if segment is None:
        raise RecipeError(f"{recipe}: its model does not use segments; the model of dcnn-blstm-attention does")
    signal = audio.load(file, loaded.audio.sample_rate)
    images = segment_images(feature_extractor, signal, segment.frames, segment.hop)
    _save(plot_segments(images), path)
    print_message(f"{len(images)} segments of {' x '.join(map(str, images[0].shape))}")


def _load_feature_extractor(name: str) -> tuple[Recipe, LogMel]:
    """A recipe and its feature extractor. Raises RecipeError for models of raw samples."""
    loaded = load_recipe(name, None, None)
    from kanjo.train.features.log_mel import LogMel

    feature_extractor = loaded.features.build(loaded.audio.sample_rate)
    if not isinstance(feature_extractor, LogMel):
        raise RecipeError(
            f"{name}: its model receives raw samples, no log-mel spectrogram; 'kanjo plot wave' draws the samples"
        )
    return loaded, feature_extractor


def _output_path(file: Path, output: Path | None, kind: str) -> Path:
    """The file of the figure. Raises KanjoError if it can't be drawn or written."""
    from kanjo.evaluation.reports.rendering import check_figure

    path = output or Path(f"{file.stem}-{kind}.png")
    check_figure(path)
    return path


def _save(figure: RenderedFigure, path: Path) -> None:
    from kanjo.evaluation.reports.rendering import save_figure

    save_figure(figure, path)
    print(path)
