"""Find, read and write bundles.

A bundle is a folder with ``model.onnx`` (one graph: ``signal`` float32 (B, N) and optionally ``speaker`` float32
(B or 1, D + 1) -> ``probabilities`` (B, E), ``embedding`` (B, D) and optionally ``ood_score`` (B,)), ``bundle.json``
(the metadata), ``README.md`` (the model card) and optionally ``weights.safetensors``. It contains no pickle.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
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
#: Largest files of a bundle. ``bundle.json`` has some kilobytes, with thousands of speakers some 100.
_MAX_METADATA_BYTES, _MAX_GRAPH_BYTES = 4_000_000, 2**31
#: The key "location" in the wire format of Protocol Buffers: tag 1, length 8, text. ONNX uses it for a tensor whose
#: values are in another file. Tag and length may have more bytes than needed (0x88 0x00).
_EXTERNAL_DATA = re.compile(rb"(?:\x0a|\x8a\x80*\x00)(?:\x08|\x88\x80*\x00)location")
_TAIL_BYTES = 32
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
    names = ", ".join(folder.name for folder in builtin_bundles()) or "none"
    raise BundleError(f"{name}: not a bundle ({problem}); built-in bundles: {names}")


def builtin_bundles() -> list[Path]:
    """Return the folders of the built-in bundles, the default bundle first."""
    found = (path.parent for path in BUILTIN_FOLDER.glob(f"*/{METADATA_FILE}"))
    return sorted(found, key=lambda folder: (folder.name != DEFAULT_BUNDLE, folder.name))


def read_bundle(name: str | Path) -> Bundle:
    """Read a bundle and check its graph.

    Args:
        name: As in :func:`find_bundle_folder`.

    Raises:
        BundleError: There is no such bundle, it has another format, or its files were changed or damaged.
    """
    folder = find_bundle_folder(name)
    metadata = read_metadata(folder)
    try:
        digest, has_external_data = _scan_graph(folder / GRAPH_FILE)
    except OSError as error:
        raise BundleError(f"{folder}: can't read {GRAPH_FILE}: {files.os_error_message(error)}") from error
    if has_external_data:
        raise BundleError(
            f"{folder}: {GRAPH_FILE} keeps weights in other files, which its sha256 does not cover; "
            "export it as one file"
        )
    if digest != metadata.sha256:
        raise BundleError(
            f"{folder}: {GRAPH_FILE} was changed or damaged (sha256 {digest[:12]}..., expected "
            f"{metadata.sha256[:12]}...); copy the bundle again"
        )
    return Bundle(folder, metadata)


def read_metadata(folder: Path) -> BundleMetadata:
    """Read the metadata of a bundle; its graph is not checked.

    Raises:
        BundleError: The folder contains no bundle, one of another format, or a link out of it.
    """
    path = folder / METADATA_FILE
    for name in (METADATA_FILE, GRAPH_FILE, WEIGHTS_FILE):
        _refuse_link(folder, name)
    try:
        text = files.read_bytes(path, _MAX_METADATA_BYTES).decode("utf-8")
    except OSError as error:
        raise BundleError(f"can't read {path}: {files.os_error_message(error)}") from error
    except UnicodeDecodeError as error:
        raise BundleError(f"{path}: not UTF-8 text ({error.reason})") from error
    return parse_metadata(text, str(path))


def _refuse_link(folder: Path, name: str) -> None:
    """Raise BundleError if a file of a bundle is a link to a file outside of the bundle's folder."""
    path = folder / name
    try:
        leaves = path.is_symlink() and not path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # RuntimeError: a link that leads back to itself, before Python 3.13
        leaves = True
    if leaves:
        raise BundleError(f"{folder}: {name} is a link that leaves the bundle; replace it by the file itself")


def _scan_graph(path: Path) -> tuple[str, bool]:
    """Return the SHA-256 of an ONNX file, and whether it refers to data in other files.

    Raises:
        OSError: The file can't be read, is not a regular file, or is larger than 2 GB, which ONNX can't represent.
    """
    digest, has_external_data, tail = hashlib.sha256(), False, b""
    with files.open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > _MAX_GRAPH_BYTES:
            raise OSError(errno.EFBIG, f"{size / 1e9:.1f} GB; an ONNX file has at most 2 GB")
        while block := stream.read(1 << 20):
            digest.update(block)
            for part in (tail + block[:_TAIL_BYTES], block):
                if b"location" in part and _EXTERNAL_DATA.search(part):
                    has_external_data = True
            tail = block[-_TAIL_BYTES:]
    return digest.hexdigest(), has_external_data


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
