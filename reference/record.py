"""Record what kanjo computes, and compare it with what it computed before the restructuring (removed when that is done).

    python reference/record.py record     # writes reference/reference.json
    python reference/record.py compare    # prints the largest difference, exit 1 over 1e-6
"""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
CORPORA = HERE.parent.parent / "shared" / "corpora"
SPEAKERS = "['01', '02', '03', '04', '05', '06']"
FEW = ["split.protocol=speakers-k", "split.k=3", f"select.speakers={SPEAKERS}", "training.epochs=1"]
MODELS = {
    "cnn-lstm-1d": [],
    "cnn-lstm-2d": [],
    "dcnn-blstm-attention": ["network.weights=none", "finetune.epochs=1", "audio.window_s=1.5", "audio.hop_s=1"],
    "mobilenet": ["network.weights=none", "training.refit=false"],
    "whisper-linear": ["network.weights=none"],
}


def clips() -> list[Path]:
    found = []
    for name in ("ravdess", "nemo", "emotiontts_ko"):
        every = sorted(p for p in (CORPORA / name).rglob("*") if p.suffix in (".flac", ".ogg", ".wav"))
        found += every[:: len(every) // 30][:30]
    return found


def predictions() -> list[dict[str, object]]:
    import kanjo

    recognizer = kanjo.load(threads=1)
    rows = []
    for path in clips():
        row = recognizer.predict(path).as_dict()
        row["file"] = path.name
        rows.append(row)
    return rows


def trained(name: str, overrides: list[str], folder: Path) -> dict[str, object]:
    run = folder / name
    sets = [part for override in [*FEW, *overrides] for part in ("--set", override)]
    command = [sys.executable, "-m", "kanjo", "train", name, "-o", str(run), "--corpus-root", str(CORPORA), "--threads", "1", *sets]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    with (run / "metrics.csv").open() as stream:
        metrics = [{k: float(v) for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]
    scores = json.loads((run / "scores.json").read_text())
    with (run / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    files = sorted(str(p.relative_to(run)) for p in run.rglob("*") if p.is_file() and "tfevents" not in p.name)
    return {"metrics": metrics, "scores": scores, "predictions": rows, "files": files}


def record() -> dict[str, object]:
    folder = Path(tempfile.mkdtemp())
    try:
        return {"predictions": predictions(), **{n: trained(n, o, folder) for n, o in MODELS.items()}}
    finally:
        shutil.rmtree(folder)


def numbers(value: object, path: str = "") -> dict[str, float | str]:
    if isinstance(value, dict):
        return {k: v for key, item in value.items() for k, v in numbers(item, f"{path}/{key}").items()}
    if isinstance(value, list):
        return {k: v for n, item in enumerate(value) for k, v in numbers(item, f"{path}/{n}").items()}
    if isinstance(value, str):
        try:
            return {path: float(value)}
        except ValueError:
            return {path: value}
    return {path: value if value is None else float(value)}  # type: ignore[dict-item]


#: Names changed by the restructuring: old -> new, applied to the reference's paths.
RENAMED: dict[str, str] = json.loads((HERE / "renamed.json").read_text()) if (HERE / "renamed.json").is_file() else {}


def compare(before: object, after: object) -> int:
    old, new = numbers(before), numbers(after)
    for a, b in RENAMED.items():
        old = {key.replace(a, b): value for key, value in old.items()}
    gone, added = sorted(old.keys() - new.keys()), sorted(new.keys() - old.keys())
    largest, where, texts = 0.0, "", []
    for key in old.keys() & new.keys():
        if "minutes" in key or "seconds" in key or "/files/" in key:
            continue
        a, b = old[key], new[key]
        if isinstance(a, float) and isinstance(b, float):
            if abs(a - b) > largest:
                largest, where = abs(a - b), key
        elif a != b:
            texts.append((key, a, b))
    print(f"largest difference {largest:.2e} at {where or '-'}; {len(old)} values")
    print(f"gone: {len(gone)} {gone[:12]}\nadded: {len(added)} {added[:12]}")
    print(f"other texts: {len(texts)}", *texts[:12], sep="\n  ")
    return int(largest > 1e-6)


def main() -> int:
    path = HERE / "reference.json"
    found = record()
    if sys.argv[1] == "record":
        path.write_text(json.dumps(found, ensure_ascii=False))
        return 0
    (Path(tempfile.gettempdir()) / "kanjo-now.json").write_text(json.dumps(found, ensure_ascii=False))
    return compare(json.loads(path.read_text()), found)


if __name__ == "__main__":
    sys.exit(main())
