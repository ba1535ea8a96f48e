"""Find, read and write bundles.

A bundle is a folder with ``model.onnx`` (one graph: ``signal`` float32 (B, N) and optionally ``speaker`` float32
(B or 1, D + 1) -> ``probabilities`` (B, E), ``embedding`` (B, D) and optionally ``ood_score`` (B,)), ``bundle.json``
(the metadata), ``README.md`` (the model card) and optionally ``weights.safetensors``. It contains no pickle.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kanjo import files
from kanjo.bundle.metadata import BundleMetadata, parse_metadata
from kanjo.bundle.model_card import model_card
from kanjo.errors import BundleError

GRAPH_FILE, METADATA_FILE, CARD_FILE, WEIGHTS_FILE = "model.onnx", "bundle.json", "README.md", "weights.safetensors"
#: Folder of the built-in bundles and of the voice activity detector.
BUILTIN_FOLDER = Path(__file__).parent / "builtin"
#: Name of the bundle's folder inside a run folder.
BUNDLE_FOLDER = "bundle"
#: Name of the built-in bundle that is used by default.
DEFAULT_BUNDLE = "default"


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk.

    Attributes:
        folder: Folder of the bundle.
        metadata: Content of its ``bundle.json``.
    """

    folder: Path
    metadata: BundleMetadata

    @property
    def graph(self) -> Path:
        """Path of the ONNX graph."""
        return self.folder / GRAPH_FILE


def find_bundle_folder(name: str | Path) -> Path:
    """Find the folder of a bundle.

    Args:
        name: Name of a built-in bundle ("default"), a bundle folder, or a run folder that contains a bundle.

    Raises:
        BundleError: There is no such bundle.
    """
    builtin = BUILTIN_FOLDER / str(name)
    if str(name) and "/" not in str(name) and (builtin / METADATA_FILE).is_file():
        return builtin
    path = Path(name)
    for folder in (path, path / BUNDLE_FOLDER):
        if (folder / METADATA_FILE).is_file():
            return folder
    if not path.exists():
        problem = "no such folder"
    elif path.is_dir():
        problem = f"the folder contains no {METADATA_FILE}"
    else:
        problem = "this is a file; expected the folder of a bundle"
    names = ", ".join(sorted(entry.parent.name for entry in BUILTIN_FOLDER.glob(f"*/{METADATA_FILE}"))) or "none"
    raise BundleError(f"{name}: not a bundle ({problem}); built-in bundles: {names}")


def read_bundle(name: str | Path) -> Bundle:
    """Read a bundle and check its graph.

    Args:
        name: As in :func:`find_bundle_folder`.

    Raises:
        BundleError: There is no such bundle, it has another format, or its files were changed or damaged.
    """
    folder = find_bundle_folder(name)
    path = folder / METADATA_FILE
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BundleError(f"can't read {path}: {files.os_error_message(error)}") from error
    except UnicodeDecodeError as error:
        raise BundleError(f"{path}: not UTF-8 text ({error.reason})") from error
    metadata = parse_metadata(text, str(path))
    try:
        digest = files.sha256(folder / GRAPH_FILE)
    except OSError as error:
        raise BundleError(f"{folder}: can't read {GRAPH_FILE}: {files.os_error_message(error)}") from error
    if digest != metadata.sha256:
        raise BundleError(
            f"{folder}: {GRAPH_FILE} was changed or damaged (sha256 {digest[:12]}..., expected "
            f"{metadata.sha256[:12]}...); copy the bundle again"
        )
    return Bundle(folder, metadata)


def write_bundle(folder: Path, graph: bytes, metadata: BundleMetadata, weights: bytes | None = None) -> Bundle:
    """Write a bundle, completely or not at all.

    Args:
        folder: Folder of the bundle; an existing one is replaced.
        graph: Content of the ONNX file.
        metadata: Metadata of the bundle.
        weights: Content of a safetensors file, from which training can start.

    Raises:
        KanjoError: The folder can't be written.
    """
    with files.atomic_directory(folder) as unfinished:
        (unfinished / GRAPH_FILE).write_bytes(graph)
        (unfinished / METADATA_FILE).write_text(metadata.to_json(), encoding="utf-8")
        (unfinished / CARD_FILE).write_text(model_card(metadata), encoding="utf-8")
        if weights is not None:
            (unfinished / WEIGHTS_FILE).write_bytes(weights)
    return Bundle(folder, metadata)


def update_metadata(folder: Path, metadata: BundleMetadata) -> Bundle:
    """Replace the metadata and the model card of a bundle, for example after it was evaluated.

    Raises:
        KanjoError: The files can't be written.
    """
    files.write_text(folder / METADATA_FILE, metadata.to_json())
    files.write_text(folder / CARD_FILE, model_card(metadata))
    return Bundle(folder, metadata)
