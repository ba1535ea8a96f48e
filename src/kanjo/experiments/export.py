"""Copies of a bundle: renamed, smaller (int8, fp16), and scored again on the test speakers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kanjo import bundle as bundles
from kanjo.errors import BundleError

if TYPE_CHECKING:
    from pathlib import Path

    from kanjo.bundle import Bundle
    from kanjo.experiments.reporter import Reporter


@dataclass(frozen=True)
class ExportOptions:
    """How a bundle is copied.

    Attributes:
        name: The new name; "" keeps the old one.
        weights: Whether the weights for further training are copied.
        int8: Whether large fully connected layers are quantized to int8.
        fp16: Whether the (other) weights are stored in fp16.
        robustness: Whether the bundle is scored on degraded recordings.
    """

    name: str = ""
    weights: bool = True
    int8: bool = False
    fp16: bool = False
    robustness: bool = False

    @property
    def smaller(self) -> bool:
        """Whether the copy has another graph than the original."""
        return self.int8 or self.fp16

    @property
    def needs_scoring(self) -> bool:
        """Whether the copy is scored on test speakers, which needs the corpora."""
        return self.smaller or self.robustness


def export_copy(source: Bundle, output: Path, options: ExportOptions) -> Bundle:
    """Write a copy of a bundle, and check that its graph can be run.

    Raises:
        BundleError: ``output`` exists, or no layer of the graph can be quantized.
    """
    if output.exists():
        raise BundleError(f"{output} exists already; choose another folder, or remove it")
    weights_file = source.folder / bundles.WEIGHTS_FILE
    weights = weights_file.read_bytes() if options.weights and weights_file.is_file() else None
    metadata = replace(source.metadata, name=options.name or source.metadata.name)
    graph = source.graph.read_bytes()
    if options.smaller:
        graph, quantization = _shrink(graph, source, options)
        metadata = replace(metadata, sha256=hashlib.sha256(graph).hexdigest(), quantization=quantization)
    return bundles.write_bundle(output, graph, metadata, weights)


def score_copy(bundle: Bundle, corpus_root: str, robustness: bool, reporter: Reporter) -> Bundle:
    """Score a bundle on the test utterances of its fold, and write the scores into its metadata and model card."""
    from kanjo.experiments.pipeline import load_data
    from kanjo.experiments.scoring import evaluate_test_fold
    from kanjo.train.config.loading import parse_recipe

    data = load_data(parse_recipe(bundle.metadata.recipe, str(bundle.folder)), corpus_root, reporter)
    fold = data.fold(int(bundle.metadata.split["fold"]))
    result = evaluate_test_fold(bundle, data, fold, 0, reporter, robustness)
    return bundles.update_metadata(bundle.folder, result.metadata)


def _shrink(graph: bytes, source: Bundle, options: ExportOptions) -> tuple[bytes, str]:
    """The graph with int8 or fp16 weights, and a description of what was changed."""
    from kanjo.train.export.quantize import quantize_linear_int8, store_weights_fp16

    changes = []
    if options.int8:
        graph, n_layers = quantize_linear_int8(graph)
        if not n_layers:
            raise BundleError(f"{source.folder} has no fully connected layer that is large enough for --int8; omit it")
        changes.append(f"{n_layers} fully connected layers have int8 weights with one scale per output")
    if options.fp16:
        graph, n_tensors = store_weights_fp16(graph)
        changes.append(f"{n_tensors} weight tensors are stored in fp16")
    return graph, "; ".join(changes)
