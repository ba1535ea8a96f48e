"""Bundles: trained models as folders that any program can run."""

from kanjo.bundle.metadata import FORMAT_VERSION, BundleMetadata
from kanjo.bundle.model_card import model_card
from kanjo.bundle.storage import (
    BUILTIN_FOLDER,
    BUNDLE_FOLDER,
    CARD_FILE,
    DEFAULT_BUNDLE,
    GRAPH_FILE,
    METADATA_FILE,
    WEIGHTS_FILE,
    Bundle,
    builtin_bundles,
    find_bundle_folder,
    read_bundle,
    read_metadata,
    update_metadata,
    write_bundle,
)

__all__ = [
    "BUILTIN_FOLDER",
    "BUNDLE_FOLDER",
    "CARD_FILE",
    "DEFAULT_BUNDLE",
    "FORMAT_VERSION",
    "GRAPH_FILE",
    "METADATA_FILE",
    "WEIGHTS_FILE",
    "Bundle",
    "BundleMetadata",
    "builtin_bundles",
    "find_bundle_folder",
    "model_card",
    "read_bundle",
    "read_metadata",
    "update_metadata",
    "write_bundle",
]
