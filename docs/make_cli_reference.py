"""Write docs/reference/cli.md from the commands of ``kanjo``, grouped as in ``kanjo --help``.

Run: python docs/make_cli_reference.py (needs the core installation only).
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import typer

from kanjo.cli import app
from kanjo.cli.help_groups import CORPORA, PREDICT, TOOLS, TRAIN

PAGE = Path(__file__).parent / "reference" / "cli.md"
_COMMENT = "<!-- docs/make_cli_reference.py writes this page from the commands. Change their help texts instead. -->"
_HEAD = f"""# Command-line reference

This page lists every command of `kanjo` with its arguments and options.

```console
$ kanjo --help
```

{_COMMENT}

`kanjo COMMAND --help` prints the same on the terminal. [Use the command line](../how-to/command-line.md) shows how to
complete names in the shell, and how to write values on Windows. `kanjo[train]` in a text names an
[extra](../index.md#install): in a clone, write `pip install '.[train]'`. Exit codes: 0 success, 1 failure, 2 usage
error ([details](platforms.md#exit-codes-of-the-command-line)).
"""
#: What stands for a value in the table if the command names nothing else.
_PLACEHOLDERS = {int: "N", float: "NUMBER", Path: "PATH"}


def render_page() -> str:
    """Render the page."""
    root: Any = typer.main.get_command(app)
    lines = [_HEAD, "| command | what it does |", "|---|---|"]
    groups = {title: _commands_of(root, title) for title in (PREDICT, TRAIN, CORPORA, TOOLS)}
    for commands in groups.values():
        for name, command in commands:
            lines.append(f"| [`kanjo {name}`](#kanjo-{name}) | {_to_markdown(_paragraphs(command)[0])} |")
    lines += ["", "## Options of all commands", "", "They stand before the command, as in `kanjo --debug predict`.", ""]
    lines += _parameter_table(root)
    for title, commands in groups.items():
        lines += ["", f"## {title}"]
        for name, command in commands:
            lines += _command_section(f"kanjo {name}", command, level=3)
    return "\n".join(lines) + "\n"


def _commands_of(root: Any, title: str) -> list[tuple[str, Any]]:
    commands = [(name, root.commands[name]) for name in root.commands]
    return [(name, command) for name, command in commands if not command.hidden and command.rich_help_panel == title]


def _command_section(name: str, command: Any, level: int) -> Iterator[str]:
    """Heading, help text, example, arguments and options; then the subcommands."""
    yield from ("", f"{'#' * level} {name}", "")
    for paragraph in _paragraphs(command):
        if paragraph.startswith("Example: "):
            yield from ("```console", f"$ {paragraph.removeprefix('Example: ')}", "```", "")
        else:
            yield from (_to_markdown(paragraph), "")
    if hasattr(command, "commands"):
        first = next(iter(command.commands))
        for child_name, child in command.commands.items():
            yield from list(_command_section(f"{name} {child_name}", child, level + 1))[child_name == first :]
    else:
        yield from _parameter_table(command)


def _paragraphs(command: Any) -> list[str]:
    text = inspect.cleandoc(command.help or "").replace("\b\n", "")
    return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def _parameter_table(command: Any) -> list[str]:
    hints = get_type_hints(inspect.unwrap(command.callback), include_extras=True)
    parameters = [parameter for parameter in command.params if not parameter.hidden]
    parameters.sort(key=lambda parameter: parameter.param_type_name != "argument")
    rows = [_row(parameter, hints.get(parameter.name)) for parameter in parameters]
    return ["| argument or option | meaning |", "|---|---|", *rows] if rows else ["No arguments or options."]


def _row(parameter: Any, hint: Any) -> str:
    kind, *annotations = get_args(hint) or (str,)
    types = get_args(kind) or (kind,)
    settings = next((item for item in annotations if hasattr(item, "param_decls")), None)
    choices = next(("|".join(get_args(item)) for item in types if get_origin(item) is Literal), "")
    placeholder = next((_PLACEHOLDERS[item] for item in types if item in _PLACEHOLDERS), "TEXT")
    placeholder = parameter.metavar or choices or placeholder
    details = " ".join(_details(parameter, settings))
    return f"| {_names(parameter, placeholder)} | {_to_markdown(parameter.help or '')} {details}".rstrip() + " |"


def _names(parameter: Any, placeholder: str) -> str:
    if parameter.param_type_name == "argument":
        name = parameter.metavar or parameter.name.upper()
        dots = "..." if parameter.nargs == -1 and not name.endswith("...") else ""
        return f"`{name}{dots}`"
    names = sorted([*parameter.opts, *parameter.secondary_opts], key=len)
    value = "" if parameter.is_flag else " " + placeholder.replace("|", "\\|")
    return ", ".join(f"`{name}`" for name in names[:-1]) + (", " if names[:-1] else "") + f"`{names[-1]}{value}`"


def _details(parameter: Any, settings: Any) -> Iterator[str]:
    """Sentences about the value: whether it is required, its bounds, its default and its environment variable."""
    if parameter.required:
        yield "Required."
    low, high = getattr(settings, "min", None), getattr(settings, "max", None)
    if low is not None or high is not None:
        bounds = f"{low:g} to {high:g}" if None not in (low, high) else f"at least {low:g}" if high is None else ""
        yield f"Value: {bounds or f'at most {high:g}'}."
    is_flag = getattr(parameter, "is_flag", False)
    if not is_flag and parameter.show_default and parameter.default not in (None, "", (), []):
        yield f"Default: `{parameter.default}`."
    if parameter.envvar:
        yield f"Environment variable: `{parameter.envvar}`."


def _to_markdown(text: str) -> str:
    """Code style for commands, options and keys; escape what Markdown or a table would change."""
    text = text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")
    text = re.sub(r"'(kanjo [^']+|[a-z]+)'", r"`\1`", text)
    return re.sub(r"(?<![\w`-])(--?[a-z][\w-]*)(?![\w`])", r"`\1`", text)


def main() -> None:
    """Write the page."""
    PAGE.write_text(render_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
