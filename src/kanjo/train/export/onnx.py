"""From a fitted system to a bundle: one ONNX graph from samples to probabilities, checked against torch before it counts."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from safetensors.torch import save
from torch import Tensor, nn

import kanjo
from kanjo import audio, bundle, files
from kanjo.corpora import CORPORA
from kanjo.corpora.splits import Fold
from kanjo.errors import BundleError
from kanjo.inference import onnx_session
from kanjo.train.calibration.ood import OUTPUT, Doubt, Embed, Plane, embeddings_of, plane_for, usual_of, with_distance
from kanjo.train.data.datasets import Windows, loader
from kanjo.train.data.embedding_cache import heard
from kanjo.train.data.experiment_data import Material
from kanjo.train.fit import Fitted
from kanjo.train.models.encoder import Encoder
from kanjo.train.tasks.base import System
from kanjo.train.warm_start import inherited

#: The most that torch's and ONNX Runtime's probabilities may differ by.
PARITY = 1e-4
PARITY_CLIPS = 100


class Graph(nn.Module):
    """What is exported: signal (B, N) -> probabilities (B, E), embedding (B, D).

    With an ``enrolled`` temperature it also takes ``speaker`` (B, D + 1): a mean embedding and a 1, or zeros where nobody is known.
    """

    def __init__(self, system: System, temperature: float, enrolled: float | None = None) -> None:
        super().__init__()
        self.frontend, self.network, self.temperature, self.enrolled = (
            system.frontend,
            system.network,
            temperature,
            enrolled,
        )

    def forward(self, signal: Tensor, speaker: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.enrolled is None or speaker is None:
            logits, embedding = self.network(*self.frontend(signal))
            return torch.softmax(logits / self.temperature, dim=1), embedding
        known = speaker[:, -1:]
        logits, embedding = self.network(*self.frontend(signal), speaker[:, :-1], known)
        return torch.softmax(logits / (self.temperature + known * (self.enrolled - self.temperature)), dim=1), embedding


def to_onnx(system: System, temperature: float, window: int, enrolled: float | None = None) -> bytes:
    """The system as an ONNX model (opset 18): ``signal`` (B, window), B free; with ``enrolled``, optionally ``speaker``."""
    takes = [] if enrolled is None else [torch.zeros(2, speaker_size(system) + 1)]
    graph = Graph(system, temperature, enrolled).cpu().float().eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it lists torchvision's operators, which nobody asked for
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter(
            "ignore"
        )  # torch's exporter warns of its own inner life; parity is what counts, and is checked
        program = torch.onnx.export(
            graph,
            (torch.zeros(2, window), *takes),
            input_names=["signal", "speaker"][: 1 + len(takes)],
            output_names=["probabilities", "embedding"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},) * (1 + len(takes)),
            opset_version=18,
            dynamo=True,
            verbose=False,
        )
        path = Path(folder) / "model.onnx"
        assert program is not None
        program.save(path, external_data=False)
        model = onnx.load(path)
    del model.metadata_props[:]
    for node in model.graph.node:  # stack traces of the exporting machine: no use to anybody, and they name its folders
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    if takes:
        _optional(model, "speaker", np.zeros((1, takes[0].shape[1]), np.float32))
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _optional(model: onnx.ModelProto, name: str, default: npt.NDArray[np.float32]) -> None:
    """Give an input a value for those who leave it out; it may then have 1 row, or as many as the batch."""
    value = next(item for item in model.graph.input if item.name == name)
    value.type.tensor_type.shape.dim[0].dim_param = "speakers"
    model.graph.initializer.append(onnx.numpy_helper.from_array(default, name))
    del model.graph.value_info[:]  # shapes between, inferred when it had as many rows as the batch


def _embedder(system: System, graph: bytes | None, material: Material) -> Embed:
    """What a system makes of utterances: as a frozen encoder was asked before, else its graph's answers."""
    network = system.network
    if isinstance(network, Encoder):
        found = heard(system, material)
        return lambda indices: network.embedded(found.summary[0, list(indices)]).detach().numpy()
    own = graph or to_onnx(system, 1.0, material.recipe.audio.window)
    return lambda indices: embeddings_of(own, material, indices)


def least_rate(paths: Sequence[Path]) -> int:
    """The lowest rate (Hz) of recordings; of many, 200 spread evenly."""
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, min(200, len(paths))).astype(int)]
    rates = []
    for path in chosen:
        with audio.open_source(path) as source:
            rates.append(source.native_rate)
    return min(rates)


def speaker_size(system: System) -> int:
    """D of the mean embeddings that a system takes; 0 where it takes none."""
    return int(getattr(system.network, "speaker_size", 0))


def export(
    material: Material, fold: Fold, fitted: Fitted, folder: Path, split: dict[str, Any], *, with_weights: bool = True
) -> bundle.Bundle:
    """Write the bundle of a fitted system, with its weights beside it (``with_weights``) for training that goes on.

    Raises BundleError, and writes nothing, when torch and ONNX Runtime differ by more than 1e-4 on 100 real clips.
    """
    recipe = material.recipe
    before = inherited(recipe)
    enrolled = fitted.enrolled.temperature if fitted.enrolled else None
    window = recipe.audio.window
    graph = to_onnx(fitted.system, fitted.temperature, window, enrolled)
    embed, first = _embedder(fitted.system, graph, material), None
    if fitted.first is not None:
        first = _embedder(fitted.first, None, material)
    frozen = recipe.training.optimizer == "lbfgs"
    plane = plane_for(fold, embed, first, not frozen)
    graph = with_distance(graph, plane, fitted.doubt)
    facts = bundle.Facts(
        name=recipe.name,
        version=kanjo.__version__,
        labels=material.emotions,
        sample_rate=recipe.audio.sample_rate,
        window_s=recipe.audio.window_s,
        hop_s=recipe.audio.hop_s,
        sha256="",
        licence=licence_of([section.name for section in recipe.corpora], *before),
        temperature=fitted.temperature,
        doubt=_doubted(fitted.doubt, plane) if fitted.doubt else {},
        speaker_size=speaker_size(fitted.system),
        least_rate=min(recipe.audio.sample_rate, least_rate([material.paths[i] for i in fold.train])),
        recipe=recipe.model_dump(mode="json"),
        paper=recipe.paper.model_dump() if recipe.paper else None,
        corpora=tuple(_once([*(one for facts in before for one in facts.corpora), *_corpus_facts(material, fold)])),
        split=split,
        n_parameters=sum(p.numel() for p in fitted.system.parameters()),
    )
    with tempfile.TemporaryDirectory() as scratch:
        draft = Path(scratch) / "draft"
        draft.mkdir()
        (draft / bundle.GRAPH).write_bytes(graph)
        digest = files.sha256(draft / bundle.GRAPH)
        facts = replace(facts, sha256=digest)
        parity = check_parity(fitted.system, bundle.Bundle(draft, facts), material)
    facts = replace(facts, parity=parity)
    weights = None
    if with_weights:
        state = {key: value.contiguous() for key, value in fitted.system.state_dict().items()}
        weights = save(state, {"recipe": recipe.name, "labels": " ".join(material.emotions)})
    return bundle.write(folder, graph, facts, weights)


def _doubted(doubt: Doubt, plane: Plane) -> dict[str, float]:
    """What bundle.json says of it."""
    return {"usual": usual_of(plane), "furthest": doubt.furthest, "exponent": doubt.plain, "enrolled": doubt.enrolled}


def check_parity(system: System, draft: bundle.Bundle, material: Material) -> dict[str, Any]:
    """The largest difference between torch's and ONNX Runtime's probabilities on 100 clips of the corpora.

    Raises BundleError when it is over 1e-4.
    """
    n = len(material.rows)
    clips = np.linspace(0, n - 1, min(PARITY_CLIPS, n)).astype(int).tolist()
    windows = Windows(material.pack, clips, material.labels, material.recipe.audio.window)
    session = onnx_session.session(draft.graph, torch.get_num_threads())
    system.eval()
    largest = 0.0
    with torch.inference_mode():
        for batch in loader(windows, 10, shuffle=False):
            theirs, distance = session.run(["probabilities", OUTPUT], {"signal": batch["signal"].numpy()})
            heat = torch.from_numpy(draft.facts.heat(distance))[:, None]
            ours = torch.softmax(system(batch["signal"])[0] / heat, 1).numpy()
            largest = max(largest, float(np.abs(ours - theirs).max()))
    if not largest <= PARITY:
        raise BundleError(
            f"export: torch and ONNX Runtime differ by {largest:.1e} on {len(clips)} clips; at most {PARITY:.0e} is allowed"
        )
    return {"clips": len(clips), "largest_difference": largest}


def licence_of(corpora: Sequence[str], *before: bundle.Facts) -> str:
    """What the weights may be used for: licences pass on, the corpora's and those of the bundles that they came from."""
    known = [licence for facts in before for licence in facts.licence.split("; ")]
    licences = dict.fromkeys(
        [
            *known,
            *(CORPORA[name].licence if name in CORPORA else "the licence of your own recordings" for name in corpora),
        ]
    )
    return "; ".join(licences)


def _once(corpora: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Each set of utterances once, in order: a bundle that training starts from may have learnt from the same."""
    return list({tuple(sorted(corpus.items())): corpus for corpus in corpora}.values())


def _corpus_facts(material: Material, fold: Fold) -> list[dict[str, str]]:
    """What the fold's training side (validation included) holds of each corpus."""
    found: dict[str, list[str]] = {}
    for i in (*fold.train, *fold.validation):
        found.setdefault(material.rows[i].corpus, []).append(material.rows[i].speaker)
    facts = []
    for name, speakers in found.items():
        known = CORPORA.get(name)
        facts.append(
            {
                "name": name,
                "title": known.title if known else name,
                "language": known.language if known else "",
                "licence": known.licence if known else "your own",
                "citation": known.citation if known else "",
                "utterances": str(len(speakers)),
                "speakers": str(len(set(speakers) - {""})),
            }
        )
    return facts
