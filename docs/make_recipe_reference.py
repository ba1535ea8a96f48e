"""Write docs/reference/recipe.md from the recipe schema.

Run: python docs/make_recipe_reference.py (needs the extra ``train``). The description of a key is the entry under
"Attributes:" in the docstring of its config class, so a new key needs one.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from kanjo.train.config.data import AudioConfig, CorpusConfig, LabelsConfig, SelectConfig, SplitConfig
from kanjo.train.config.features import LogMelConfig, WaveformConfig
from kanjo.train.config.loading import RECIPES_FOLDER, list_recipes
from kanjo.train.config.models import (
    CnnLstm1dConfig,
    CnnLstm2dConfig,
    DcnnBlstmConfig,
    EncoderConfig,
    MobileNetConfig,
    SegmentConfig,
)
from kanjo.train.config.schema import PaperConfig, Recipe
from kanjo.train.config.training import AugmentConfig, TrainingConfig
from kanjo.train.config.tuning import ChoiceConfig, RangeConfig, TuneConfig

PAGE = Path(__file__).parent / "reference" / "recipe.md"

#: Heading, config class and introduction of each section, in the order of the page.
SECTIONS: tuple[tuple[str, type[BaseModel], str], ...] = (
    ("Top level", Recipe, "The sections have tables of their own below."),
    ("paper", PaperConfig, ""),
    ("corpora", CorpusConfig, "A list. Each item is the name of a corpus, or a mapping with these keys."),
    ("labels", LabelsConfig, ""),
    ("select", SelectConfig, "Which utterances are used at all."),
    ("split", SplitConfig, "See [Protocols](../explanation/protocols.md)."),
    ("audio", AudioConfig, ""),
    ("features: log-mel", LogMelConfig, "Lengths are in samples, frequencies in Hz."),
    ("features: waveform", WaveformConfig, "Raw samples, scaled to an RMS of 1. For the model `cnn-lstm-1d`."),
    ("model: cnn-lstm-2d", CnnLstm2dConfig, "See [Models](../explanation/models.md#cnn-lstm-2d-and-cnn-lstm-1d)."),
    ("model: cnn-lstm-1d", CnnLstm1dConfig, "See [Models](../explanation/models.md#cnn-lstm-2d-and-cnn-lstm-1d)."),
    (
        "model: dcnn-blstm-attention",
        DcnnBlstmConfig,
        "See [Models](../explanation/models.md#dcnn-blstm-attention).",
    ),
    ("model.segment", SegmentConfig, "Segments for the model `dcnn-blstm-attention`."),
    ("model: mobilenet", MobileNetConfig, "See [Models](../explanation/models.md#mobilenet)."),
    ("model: encoder", EncoderConfig, "See [Models](../explanation/models.md#encoder)."),
    ("augment", AugmentConfig, "Random changes of training clips. 0 turns a change off."),
    (
        "training and stage1",
        TrainingConfig,
        "How the model is trained. `stage1` has the same keys and describes stage 1 of a model with two stages.",
    ),
    ("tune", TuneConfig, "See [Tune and ablate](../how-to/tune-and-ablate.md#tune-hyper-parameters)."),
    ("tune.space: range", RangeConfig, "Numbers from `low` to `high`; integers if both are integers."),
    ("tune.space: choices", ChoiceConfig, ""),
)

_HEAD = """# Recipe

This page describes all keys of a recipe: the YAML file with all settings of a training.

```console
$ kanjo train cnn-lstm-2d --corpus-root corpora --set training.learning_rate=1e-4
```

A recipe can extend another one with `base`. It then contains only the values that differ:

```yaml
name: mine
base: cnn-lstm-2d-long
corpora: [{name: own, path: mine.csv}]
training: {epochs: 20}
```

- `base` is the name of a built-in recipe, or a file beside the recipe.
- `--set KEY=VALUE` changes one value. The value is YAML: `--set 'corpora=[ravdess, nemo]'`, `--set stage1=null`.
- `${corpus.root}` in a value stands for `--corpus-root` or the environment variable `KANJO_CORPORA`.
- An unknown key is an error that names the nearest key.
- A run folder contains the recipe with all values (`recipe.yaml`). You can train it again: `kanjo train RUN`.

The script `docs/make_recipe_reference.py` writes this page from the schema.
"""


def render_page() -> str:
    """Render the page."""
    lines = [_HEAD, "## Built-in recipes", "", "| name | description |", "|---|---|"]
    for name in list_recipes():
        content = yaml.safe_load(next(RECIPES_FOLDER.rglob(f"{name}.yaml")).read_text(encoding="utf-8"))
        lines.append(f"| `{name}` | {content.get('description', '')} |")
    for heading, config, introduction in SECTIONS:
        lines += ["", f"## {heading}", ""]
        if introduction:
            lines += [introduction, ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|", *_rows(config)]
    return "\n".join(lines) + "\n"


def _rows(config: type[BaseModel]) -> Iterator[str]:
    schema = config.model_json_schema()
    descriptions = _attribute_descriptions(config)
    for name, field in config.model_fields.items():
        if name not in descriptions:
            raise SystemExit(f"{config.__name__}.{name} has no description; add it to the docstring's Attributes")
        value = None if field.is_required() else field.get_default(call_default_factory=True)
        default = "required" if field.is_required() else f"`{_format_value(value)}`"
        kind = _format_type(schema["properties"][name], schema.get("$defs", {}))
        yield f"| `{name}` | {kind} | {default} | {descriptions[name]} |"


def _attribute_descriptions(config: type[BaseModel]) -> dict[str, str]:
    """The descriptions under "Attributes:" in the docstrings of a class and its base classes."""
    descriptions: dict[str, str] = {}
    for base in reversed(config.__mro__):
        if not issubclass(base, BaseModel):
            continue
        _, _, text = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")
        for entry in re.split(r"\n(?=    \w)", "\n" + text.split("\n\n")[0])[1:]:
            name, _, description = " ".join(entry.split()).partition(": ")
            descriptions[name] = _to_markdown(description)
    return descriptions


def _to_markdown(text: str) -> str:
    """Single backticks instead of reStructuredText's double ones; None is null in YAML."""
    text = text.replace("``", "`").replace("(None: ", "(`null`: ").replace("|", "\\|")
    return re.sub(r'"([\w-]+)"', r"`\1`", text)


def _format_value(value: Any) -> str:
    if isinstance(value, BaseModel):
        return "{}" if value == type(value).model_construct() else _format_value(value.model_dump(mode="json"))
    if isinstance(value, tuple):
        value = [list(item) if isinstance(item, tuple) else item for item in value]
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=1000)
    return text.removesuffix("\n").removesuffix("\n...")


def _format_type(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """Describe the type of a JSON schema in words."""
    if "$ref" in schema:
        return _format_reference(schema["$ref"], definitions)
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            return " or ".join(dict.fromkeys(_format_type(option, definitions) for option in schema[keyword]))
    kind = schema.get("type", "any value")
    if kind == "array":
        if "prefixItems" in schema:
            return f"[{', '.join(_format_type(item, definitions) for item in schema['prefixItems'])}]"
        return f"list of {_format_type(schema.get('items', {}), definitions)}"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"mapping to {_format_type(values, definitions)}" if isinstance(values, dict) else "mapping"
    return _format_range({"boolean": "true or false", "null": "`null`"}.get(kind, kind), schema)


def _format_reference(reference: str, definitions: dict[str, Any]) -> str:
    name = reference.rsplit("/", 1)[-1]
    return "section" if "properties" in definitions[name] else _format_type(definitions[name], definitions)


def _format_range(kind: str, schema: dict[str, Any]) -> str:
    """Add the bounds of a number: "number (≥ 0, < 1)"."""
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[key]:.10g}" for key, sign in signs.items() if key in schema]
    return f"{kind} ({', '.join(bounds)})" if bounds else kind


def main() -> None:
    """Write the page."""
    PAGE.write_text(render_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
