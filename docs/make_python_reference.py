"""Write docs/reference/python-api.md from the signatures and docstrings of the public Python API.

Run: python docs/make_python_reference.py (needs the extras ``train`` and ``serve``). A name that is not in ``SECTIONS``
is internal.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import kanjo
from kanjo import palette
from kanjo.corpora import Manifest, Utterance, read_corpus, read_manifest
from kanjo.experiments.finetune_result import Comparison, FinetuneResult, ModelScore
from kanjo.inference import adaptation, speaker_profiles
from kanjo.inference.options import InferenceOptions
from kanjo.inference.prediction import TimeSteps
from kanjo.server.app import create_app
from kanjo.server.settings import Settings

PAGE = Path(__file__).parent / "reference" / "python-api.md"
_COMMENT = "<!-- docs/make_python_reference.py writes this page from the docstrings. Change them instead. -->"
_HEAD = f"""# Python API: all functions and classes

This page lists every public function, class, method and field, with its arguments.

```python
import kanjo

print(kanjo.load().predict("examples/recordings/sadness-1.flac").label)
```

{_COMMENT}

[Python API: guide](python.md) explains the same names with examples. B is the batch size, N the number of samples, E
the number of emotions, D the size of an embedding, T the number of time steps, W the number of windows.
"""
#: Heading, module to import from, and objects of each section, in the order of the page.
SECTIONS: tuple[tuple[str, str, Sequence[Any]], ...] = (
    ("Predict", "kanjo", (kanjo.load, kanjo.Recognizer, kanjo.Stream, kanjo.Prediction, kanjo.Segment)),
    ("Time steps", "kanjo.inference.prediction", (TimeSteps,)),
    ("Options of a prediction", "kanjo.inference.options", (InferenceOptions,)),
    (
        "Speaker profiles",
        "kanjo.inference.speaker_profiles",
        (
            speaker_profiles.SpeakerProfile,
            speaker_profiles.read_profile,
            speaker_profiles.write_profile,
            speaker_profiles.parse_profile,
            speaker_profiles.list_profiles,
            speaker_profiles.describe_shortcomings,
        ),
    ),
    (
        "Adaptation profiles",
        "kanjo.inference.adaptation",
        (adaptation.AdaptationProfile, adaptation.read_adaptation, adaptation.write_adaptation),
    ),
    ("Train on your own recordings", "kanjo", (kanjo.finetune,)),
    ("Result of finetune", "kanjo.experiments.finetune_result", (FinetuneResult, Comparison, ModelScore)),
    ("Corpora and tables", "kanjo.corpora", (read_corpus, read_manifest, Manifest, Utterance)),
    ("Service", "kanjo.server", (create_app, Settings)),
    ("Colors", "kanjo.palette", (palette.emotion_color, palette.text_color)),
    (
        "Errors",
        "kanjo",
        (kanjo.KanjoError, kanjo.AudioError, kanjo.BundleError, kanjo.CorpusError, kanjo.RecipeError),
    ),
)
_SECTION_NAMES = ("Args", "Attributes", "Returns", "Yields", "Raises", "Shape")
_MAX_SIGNATURE = 88


def render_page() -> str:
    """Render the page."""
    lines = [_HEAD.removesuffix("\n")]
    for heading, module, objects in SECTIONS:
        lines += ["", f"## {heading}"]
        for item in objects:
            source = item.__module__ if module == "kanjo.server" else module
            lines += ["", f"### {item.__name__}", "", f"`from {source} import {item.__name__}`", ""]
            lines += _class_lines(item) if inspect.isclass(item) else _function_lines(item, item.__name__)
    return "\n".join(lines) + "\n"


def _class_lines(item: type) -> Iterator[str]:
    """Text, fields and members of a class."""
    text, sections = parse_docstring(item.__doc__)
    yield text
    meanings = sections.get("Attributes") or sections.get("Args") or {}
    if is_dataclass(item) or hasattr(item, "_fields"):
        yield from ("", *_field_table(item, meanings))
    elif sections.get("Attributes"):
        yield from ("", "| attribute | meaning |", "|---|---|")
        yield from (f"| `{name}` | {meaning} |" for name, meaning in sections["Attributes"].items())
    if item.__module__ != kanjo.errors.__name__:
        yield from _member_lines(item)


def _field_table(item: type, meanings: dict[str, str]) -> Iterator[str]:
    yield from ("| field | type | default | meaning |", "|---|---|---|---|")
    for name, kind, default in _fields_of(item):
        shown = "" if default is MISSING else f"`{_quote(default)}`"
        yield f"| `{name}` | `{_escape(kind)}` | {shown} | {meanings.get(name, '')} |"


def _fields_of(item: Any) -> Iterator[tuple[str, str, Any]]:
    """Name, type and default of each field of a dataclass or named tuple."""
    if is_dataclass(item):
        for field in fields(item):
            factory = field.default_factory
            yield field.name, str(field.type), field.default if factory is MISSING else factory()
    else:
        for name in item._fields:
            annotation = item.__annotations__[name]
            kind = getattr(annotation, "__forward_arg__", annotation)
            yield name, str(kind), item._field_defaults.get(name, MISSING)


def _member_lines(item: type) -> Iterator[str]:
    """The constructor of a class that is no dataclass; then a table of properties; then the methods."""
    members = {name: member for name, member in vars(item).items() if not name.startswith("_")}
    properties = {name: member for name, member in members.items() if isinstance(member, property)}
    if properties:
        yield from ("", "| property | type | meaning |", "|---|---|---|")
    for name, member in properties.items():
        kind = inspect.signature(_getter(member)).return_annotation
        yield f"| `{name}` | `{_escape(kind)}` | {' '.join(parse_docstring(member.__doc__)[0].split())} |"
    if not is_dataclass(item) and not hasattr(item, "_fields"):
        yield from ("", f"#### {item.__name__}()", "", *_function_lines(item.__init__, item.__name__))  # type: ignore[misc]
    for name, member in members.items():
        if inspect.isfunction(member) or isinstance(member, classmethod):
            function = member.__func__ if isinstance(member, classmethod) else member
            yield from ("", f"#### {item.__name__}.{name}", "", *_function_lines(function, name))


def _getter(member: property) -> Callable[..., Any]:
    if member.fget is None:
        raise SystemExit("a public property has no getter")
    return member.fget


def _function_lines(function: Callable[..., Any], name: str) -> Iterator[str]:
    """Signature, text, and tables of arguments and errors."""
    text, sections = parse_docstring(function.__doc__)
    yield from ("```py", *format_signature(function, name), "```")
    if text:
        yield from ("", text)
    if sections.get("Args"):
        yield from ("", "| argument | meaning |", "|---|---|")
        yield from (f"| `{argument}` | {meaning} |" for argument, meaning in sections["Args"].items())
    for title in ("Returns", "Yields", "Shape"):
        if sections.get(title):
            separator = "; " if title == "Shape" else " "
            yield from ("", f"{title}: {separator.join(sections[title])}")
    if sections.get("Raises"):
        yield from ("", "| raises | when |", "|---|---|")
        yield from (f"| `{error}` | {meaning} |" for error, meaning in sections["Raises"].items())


def format_signature(function: Callable[..., Any], name: str) -> list[str]:
    """The signature in one line, or with one line for each argument."""
    signature = inspect.signature(function)
    parameters, has_star = [], False
    for parameter in signature.parameters.values():
        if parameter.name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not has_star:
            parameters.append("*")
        has_star = has_star or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        parameters.append(_format_parameter(parameter))
    result = signature.return_annotation
    end = ")" if result in (inspect.Signature.empty, "None") else f") -> {result}"
    line = f"{name}({', '.join(parameters)}{end}"
    if len(line) <= _MAX_SIGNATURE:
        return [line]
    return [f"{name}(", *(f"    {parameter}," for parameter in parameters), end]


def _format_parameter(parameter: inspect.Parameter) -> str:
    if parameter.kind is parameter.VAR_KEYWORD:
        return f"**{parameter.name}"
    text = f"{parameter.name}: {parameter.annotation}"
    return text if parameter.default is parameter.empty else f"{text} = {_quote(parameter.default)}"


def _quote(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _escape(text: str) -> str:
    return text.replace("|", "\\|")


def parse_docstring(docstring: str | None) -> tuple[str, dict[str, dict[str, str]]]:
    """Split a docstring of Google style into its text and its sections, each with its entries."""
    docstring = re.sub(r"\n *Examples?:\n.*?(?=\n *(?:\w+:)?\n|\Z)", "", docstring or "", flags=re.DOTALL)
    parts = re.split(rf"^({'|'.join(_SECTION_NAMES)}):\n", inspect.cleandoc(docstring), flags=re.MULTILINE)
    sections = {}
    for title, content in zip(parts[1::2], parts[2::2], strict=True):
        body, _, rest = content.partition("\n\n")
        if rest.strip() and not re.match(r"\s", rest):
            parts[0] += "\n\n" + rest
        sections[title] = dict(_parse_entries(title, body))
    return _to_markdown(parts[0].strip()), sections


def _parse_entries(title: str, body: str) -> Iterator[tuple[str, str]]:
    for entry in re.split(r"\n(?=    \S)", "\n" + body.rstrip())[1:]:
        text = _to_markdown(" ".join(entry.split()))
        name, colon, meaning = text.partition(": ")
        if title in ("Args", "Attributes", "Raises") and colon:
            yield name.replace("\\*", "*"), _escape(meaning)
        else:
            yield text.removeprefix("- "), ""


def _to_markdown(text: str) -> str:
    """Code style instead of the roles and double backticks of reStructuredText."""
    text = re.sub(r":\w+:`~(?:\w+\.)*(\w+)`", r"`\1`", text)
    text = re.sub(r":\w+:`([^`]+)`", r"`\1`", text)
    return text.replace("``", "`")


def main() -> None:
    """Write the page."""
    PAGE.write_text(render_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
