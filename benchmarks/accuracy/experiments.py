"""The experiments of docs/benchmarks/accuracy.md, as commands of ``kanjo``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Experiment:
    """One row of the results.

    Attributes:
        name: Name of its JSON file and of its run folder.
        section: Key of the page's section (``SECTIONS``).
        system: Name of the system in the table.
        command: What follows ``kanjo`` on the command line.
        corpus_root: Folder of the corpora, relative to the repository; empty: the folder of the real corpora.
    """

    name: str
    section: str
    system: str
    command: str
    corpus_root: str = ""


#: Where ``synthetic_corpora.py`` writes its corpora.
SYNTHETIC = "build/synthetic"

#: Sections of the page, with their headings.
SECTIONS = {
    "ravdess": "RAVDESS (English), the six folds of EmoBox: 24 unseen speakers, 8 emotions, chance 12.5 %",
    "nemo": "nEMO (Polish), leave one speaker out: 9 unseen speakers, 6 emotions, chance 16.7 %",
    "korean": "Open emotional TTS corpus (Korean), leave one speaker out: 15 unseen speakers, 4 emotions, chance 25 %",
    "emovo": "EMOVO (Italian), leave one speaker out: 6 unseen speakers, 7 emotions, chance 14.3 %",
    "cross": "Leave one corpus out: trained on two of RAVDESS, nEMO and the Korean corpus, tested on the third; "
    "4 emotions, chance 25 %",
    "default": "The built-in bundles: speaker_kfold, fold 1 of 5, 7 emotions, chance 14.3 %",
    "published-ravdess": "The published models on RAVDESS (English), EmoBox's folds 1 and 2, 8 emotions, chance 12.5 %",
    "published-emovo": "The published models on EMOVO (Italian), leave one speaker out, 7 emotions, chance 14.3 %",
    "published-emovo-dependent": "The published models on EMOVO, speaker-dependent, fold 1 of 5, chance 14.3 %",
    "published-synthetic": "The speaker-dependent recipes of EmoDB and AIHUB on synthetic recordings, fold 1 of 5",
    "benchmark": "The default bundle on every corpus, without the speakers of its training",
}

_NEMO = "--set corpora=[nemo] --set split.protocol=loso"
_EMOVO = "--set corpora=[emovo] --set split.protocol=loso"
_KOREAN = "--set corpora=[emotiontts] --set split.protocol=loso"
_LEAVE_ONE_CORPUS_OUT = (
    "--set corpora=[ravdess,nemo,emotiontts] --set split.protocol=leave_one_corpus_out "
    "--set labels.include=[anger,happiness,neutral,sadness]"
)
_BALANCED_CORPORA = "--set training.balance=corpus_class_sampling --set training.calibration=held_out_groups"
#: The Korean corpus has 300 clips: small batches give enough steps. Training starts from the model of the fold of
#: cross-mobilenet that was not trained on this corpus.
_SMALL_CORPUS = (
    "--set training.epochs=30 --set training.batch_size=8 --set init_from=runs/results/cross-mobilenet/fold-3"
)


def _baseline(section: str, feature_set: str, title: str, overrides: str, by_speaker: bool = False) -> Experiment:
    """openSMILE functionals and a linear SVM."""
    option = " --speaker-normalization" if by_speaker else ""
    command = f"baseline {feature_set} mobilenet {overrides}".rstrip() + option
    name = f"{section}-{feature_set}{'-speaker' if by_speaker else ''}"
    system = f"openSMILE {title}, linear SVM{', each speaker standardized' if by_speaker else ''}"
    return Experiment(name, section, system, command)


def _published() -> list[Experiment]:
    """The two published systems, trained from random weights; folds are runs of their own."""
    experiments = []
    for recipe in ("cnn-lstm-1d", "cnn-lstm-2d"):
        emovo = f"{recipe} --set corpora=[emovo] --set split.protocol="
        experiments += [
            *(
                Experiment(f"ravdess-{recipe}-fold-{fold}", "published-ravdess", f"{recipe}, fold {fold}", command)
                for fold in (1, 2)
                for command in [f"train {recipe} --fold {fold}"]
            ),
            Experiment(f"emovo-{recipe}", "published-emovo", f"{recipe}, six folds", f"crossval {emovo}loso"),
            Experiment(
                f"emovo-{recipe}-dependent", "published-emovo-dependent", recipe, f"train {emovo}speaker_dependent"
            ),
            *(
                Experiment(f"synthetic-{name}", "published-synthetic", name, f"train {name}", SYNTHETIC)
                for name in (f"{recipe}-emodb-dependent", f"{recipe}-aihub")
            ),
        ]
    dcnn = "train dcnn-blstm-attention --set model.weights=none"
    return [
        *experiments,
        Experiment(
            "ravdess-dcnn-blstm-fold-1",
            "published-ravdess",
            "dcnn-blstm-attention, random weights, fold 1",
            f"{dcnn} --fold 1",
        ),
        Experiment(
            "emovo-dcnn-blstm-fold-1",
            "published-emovo",
            "dcnn-blstm-attention, random weights, fold 1 (one speaker)",
            f"{dcnn} --set corpora=[emovo] --set split.protocol=loso --fold 1",
        ),
    ]


EXPERIMENTS = [
    _baseline("ravdess", "egemaps", "eGeMAPS", ""),
    _baseline("ravdess", "egemaps", "eGeMAPS", "", by_speaker=True),
    _baseline("ravdess", "compare", "ComParE 2016", ""),
    _baseline("ravdess", "compare", "ComParE 2016", "", by_speaker=True),
    _baseline("nemo", "egemaps", "eGeMAPS", _NEMO),
    _baseline("nemo", "compare", "ComParE 2016", _NEMO),
    _baseline("korean", "egemaps", "eGeMAPS", _KOREAN),
    _baseline("korean", "compare", "ComParE 2016", _KOREAN),
    _baseline("cross", "egemaps", "eGeMAPS", _LEAVE_ONE_CORPUS_OUT),
    _baseline("cross", "compare", "ComParE 2016", _LEAVE_ONE_CORPUS_OUT),
    Experiment("ravdess-cnn-lstm-2d-long", "ravdess", "cnn-lstm-2d-long", "crossval cnn-lstm-2d-long"),
    Experiment("ravdess-mobilenet", "ravdess", "mobilenet", "crossval mobilenet"),
    *(
        Experiment(f"{section}-{recipe}", section, recipe, f"crossval {recipe} {overrides}".rstrip())
        for recipe in ("whisper-base", "whisper-tiny")
        for section, overrides in (("ravdess", ""), ("nemo", _NEMO), ("korean", _KOREAN), ("emovo", _EMOVO))
    ),
    Experiment("cross-mobilenet", "cross", "cross-corpus (mobilenet)", "crossval cross-corpus"),
    Experiment(
        "cross-whisper-base",
        "cross",
        "whisper-base",
        f"crossval whisper-base {_LEAVE_ONE_CORPUS_OUT} {_BALANCED_CORPORA}",
    ),
    Experiment(
        "korean-mobilenet",
        "korean",
        "mobilenet, pre-trained on RAVDESS and nEMO",
        f"crossval mobilenet {_KOREAN} {_SMALL_CORPUS}",
    ),
    Experiment("default", "default", "default bundle, int8 and fp16", "train default --fold 1"),
    Experiment("small", "default", "small bundle, int8 and fp16", "train small --fold 1"),
    Experiment("default-benchmark", "benchmark", "default", "benchmark default"),
    Experiment("small-benchmark", "benchmark", "small", "benchmark small"),
    *_published(),
]
