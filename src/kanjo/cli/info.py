"""``kanjo info``: versions, providers, model and folders, for bug reports."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import typer

from kanjo import bundle
from kanjo.cli.common import Model
from kanjo.errors import KanjoError
from kanjo.inference import onnx_session, speaker_profiles

_PACKAGES = (
    "kanjo",
    "numpy",
    "soundfile",
    "soxr",
    "onnxruntime",
    "typer",
    "av",
    "torch",
    "lightning",
    "scikit-learn",
    "fastapi",
)
_VARIABLES = ("KANJO_CORPORA", "KANJO_CACHE", "KANJO_WEIGHTS", "KANJO_SPEAKERS", "ORT_DISABLE_TELEMETRY")


def info(model: Model = "default") -> None:
    """Print versions, ONNX Runtime's providers, the model, folders and environment variables, for bug reports.

    Example: kanjo info
    """
    _print_rows("Versions", {"Python": platform.python_version(), "system": platform.platform(), **_versions()})
    providers = ", ".join(onnx_session.available_providers())
    _print_rows("ONNX Runtime", {"available providers": providers, "device": onnx_session.choose_device()})
    model_bundle = bundle.read_bundle(model)
    data = model_bundle.metadata
    languages = dict.fromkeys(corpus["language"] or "unknown" for corpus in data.corpora)
    _print_rows(
        "Model",
        {
            "name": f"{data.name} {data.version}",
            "folder": model_bundle.folder,
            "sha256": data.sha256,
            "labels": ", ".join(data.labels),
            "languages": ", ".join(languages) or "unknown",
            "window": f"{data.window_s:g} s every {data.hop_s:g} s at {data.sample_rate} Hz",
            "license": data.license,
        },
    )
    folders = {"package": Path(__file__).parents[1], "speaker profiles": _profiles_folder()}
    _print_rows("Folders", {name: _shorten(folder) if folder else "none" for name, folder in folders.items()})
    _print_rows("Environment variables", {name: os.environ.get(name, "not set") for name in _VARIABLES})
    _print_rows("Processor", {"name": platform.processor() or platform.machine(), "cores": os.cpu_count() or "unknown"})


def _versions() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _profiles_folder() -> Path | None:
    """The folder of the speaker profiles; None if the user has no home folder."""
    try:
        return speaker_profiles.profiles_folder()
    except KanjoError:
        return None


def _shorten(folder: Path) -> str:
    """Replace the home folder by ``~``, so that a bug report does not contain the user's name."""
    try:
        return str(Path("~") / folder.relative_to(Path.home()))
    except (ValueError, RuntimeError):
        return str(folder)


def _print_rows(title: str, rows: dict[str, object]) -> None:
    typer.echo(title)
    for name, value in rows.items():
        typer.echo(f"  {name:<22}{value}")
