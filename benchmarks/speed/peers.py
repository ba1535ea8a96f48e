# needs: opensmile torch transformers
"""The built-in models and what people use instead of them, on the same 40 recordings of speech, on one core.

- openSMILE, the features eGeMAPS (without a classifier), over ``small``
- the audio classification pipeline of transformers with wav2vec2-base (random weights), over ``default``

kanjo's time includes decoding, resampling and voice activity detection; the peers decode with the same library. Each
pair runs alternately, in one process, and the fastest of the rounds counts: other programs on a shared machine only
make a round slower. The recordings are those of RAVDESS in the folder KANJO_CORPORA, else the example recordings.
Run: make bench-peers
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

N_CLIPS, N_ROUNDS = 40, 7
EXAMPLES = Path(__file__).parents[2] / "examples" / "recordings"


def use_one_core() -> None:
    """Limit this process to one core. Must be called before numpy and torch are imported."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def find_clips() -> list[Path]:
    """The recordings: evenly spaced ones of RAVDESS, or the example recordings, repeated."""
    corpus = Path(os.environ.get("KANJO_CORPORA", "../shared/corpora")) / "ravdess"
    paths = sorted(path for path in corpus.glob("Actor_*/*") if path.suffix in (".wav", ".flac"))
    paths = paths or sorted(EXAMPLES.glob("*.flac"))
    step = max(1, len(paths) // N_CLIPS)
    return [paths[i * step % len(paths)] for i in range(N_CLIPS)]


def kanjo_predict(model: str) -> Callable[[list[Path]], object]:
    """Prediction of files with a built-in model."""
    import kanjo

    recognizer = kanjo.load(model, threads=1)
    return lambda paths: [recognizer.predict(path) for path in paths]


def opensmile_features() -> Callable[[list[Path]], object]:
    """The functionals of eGeMAPS, from files."""
    import opensmile

    smile = opensmile.Smile(
        feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.Functionals, num_workers=1
    )
    return lambda paths: [smile.process_file(str(path)) for path in paths]


def wav2vec2_pipeline() -> Callable[[list[Path]], object]:
    """The pipeline of transformers, with decoded and resampled signals as input."""
    import soundfile
    import soxr
    import torch
    from transformers import AudioClassificationPipeline, Wav2Vec2Config, Wav2Vec2FeatureExtractor
    from transformers import Wav2Vec2ForSequenceClassification as Classifier

    torch.set_num_threads(1)
    model = Classifier(Wav2Vec2Config(num_labels=7)).eval()  # the defaults are those of wav2vec2-base
    pipeline = AudioClassificationPipeline(model=model, feature_extractor=Wav2Vec2FeatureExtractor())

    def predict(paths: list[Path]) -> list[object]:
        answers = []
        for path in paths:
            signal, rate = soundfile.read(path, dtype="float32", always_2d=True)
            answers.append(pipeline(soxr.resample(signal.mean(1), rate, 16_000)))
        return answers

    return predict


def compare(name: str, peer_name: str, peer: Callable[[list[Path]], object], paths: list[Path], goal: str) -> None:
    """Print the times of a built-in model and of a peer, and how many times faster the model is."""
    own = kanjo_predict(name)
    fastest = {"own": float("inf"), "peer": float("inf")}
    for function in (own, peer):
        function(paths[:3])
    for _ in range(N_ROUNDS):
        for key, function in (("own", own), ("peer", peer)):
            started = time.perf_counter()
            function(paths)
            fastest[key] = min(fastest[key], time.perf_counter() - started)
    own_ms, peer_ms = (1e3 * fastest[key] / len(paths) for key in ("own", "peer"))
    ratio = f"{peer_ms / own_ms:.1f} times as fast ({goal})"
    print(f"kanjo {name:8} {own_ms:7.1f} ms a clip   {peer_name} {peer_ms:7.1f} ms   {ratio}")


def main() -> None:
    use_one_core()
    paths = find_clips()
    print(f"{len(paths)} recordings, one core, fastest of {N_ROUNDS} rounds")
    compare("small", "openSMILE eGeMAPS", opensmile_features(), paths, "goal 2.5")
    compare("default", "transformers wav2vec2-base", wav2vec2_pipeline(), paths, "goal 8")


if __name__ == "__main__":
    main()
