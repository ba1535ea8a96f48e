"""The commands of ``kanjo``, each imported when it is looked up.

So ``kanjo predict`` imports the module of ``predict`` only, and no package that it does not need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand
from typer.main import get_group

from kanjo.cli.completion import complete_if_requested
from kanjo.cli.help_groups import CORPORA, PREDICT, TOOLS, TRAIN, GroupedCommands

#: Command -> its section in ``kanjo --help``; the module in ``kanjo.cli`` that has it, and its name there.
COMMANDS = {
    "demo": (PREDICT, "demo", "demo"),
    "predict": (PREDICT, "predict", "predict"),
    "listen": (PREDICT, "listen", "listen"),
    "embed": (PREDICT, "embed", "embed"),
    "enroll": (PREDICT, "enroll", "enroll"),
    "serve": (PREDICT, "serve", "serve"),
    "models": (PREDICT, "models", "models"),
    "finetune": (TRAIN, "finetune", "finetune"),
    "train": (TRAIN, "train", "train"),
    "crossval": (TRAIN, "train", "crossval"),
    "compare": (TRAIN, "compare", "compare"),
    "report": (TRAIN, "compare", "report"),
    "ablate": (TRAIN, "ablate", "ablate"),
    "tune": (TRAIN, "tune", "tune"),
    "evaluate": (TRAIN, "evaluate", "evaluate"),
    "benchmark": (TRAIN, "benchmark", "benchmark"),
    "export": (TRAIN, "evaluate", "export"),
    "baseline": (TRAIN, "baseline", "baseline"),
    "recipes": (TRAIN, "models", "recipes"),
    "info": (TOOLS, "info", "info"),
    "corpus": (CORPORA, "corpus", "app"),
    "tools": (TOOLS, "tools", "app"),
    "plot": (TOOLS, "plot", "app"),
}


class LazyGroup(GroupedCommands):
    """A command whose subcommands are those of :data:`COMMANDS`."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**{**attributes, "commands": _LazyCommands()})

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the options before the name of the subcommand."""
        _convert_only_if_needed(self.get_params(ctx))
        return super().parse_args(ctx, args)

    def _main_shell_completion(self, ctx_args: Any, prog_name: str, complete_var: str | None = None) -> None:
        """Print completions if the shell requests them. Click and Typer call this before they parse the command."""
        complete_if_requested(self, ctx_args, prog_name)


class _Command(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        _convert_only_if_needed(self.get_params(ctx))
        return super().parse_args(ctx, args)


class _LazyCommands(Mapping[str, Any]):
    """Name -> command. A module is imported when its command is looked up."""

    def __getitem__(self, name: str) -> Any:
        return _import_command(name)

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


@cache
def _import_command(name: str) -> Any:
    """Import a command, or a group of commands, and let Typer build it."""
    section, module, attribute = COMMANDS[name]
    source = getattr(import_module(f"kanjo.cli.{module}"), attribute)
    parent = typer.Typer(rich_markup_mode=None)
    if isinstance(source, typer.Typer):
        parent.add_typer(source, name=name, cls=GroupedCommands, rich_help_panel=section)
    else:
        parent.command(name, cls=_Command, rich_help_panel=section)(source)
    return get_group(parent).commands[name]


def _convert_only_if_needed(parameters: list[Any]) -> None:
    """Keep values that need no conversion from Typer's conversion.

    Typer 0.29 and newer convert every value, defaults also, with pydantic, whose import takes half as long as that of
    ONNX Runtime. Older versions have no ``type_descriptor`` and do not use pydantic.
    """
    for parameter in parameters:
        if hasattr(parameter, "type_descriptor") and "process_value" not in vars(parameter):
            parameter.process_value = partial(_process_value, parameter, parameter.process_value)


def _process_value(parameter: Any, convert: Callable[[Any, Any], Any], context: Any, value: Any) -> Any:
    """Return the value of a parameter. Typer converts numbers, paths and choices, and reports missing values."""
    if not _is_ready(parameter, value):
        return convert(context, value)
    return parameter.callback(context, parameter, value) if parameter.callback else value


def _is_ready(parameter: Any, value: Any) -> bool:
    """Return whether the value of an option or argument already has its type."""
    descriptor = parameter.type_descriptor
    if value is None:
        return not parameter.required
    if descriptor.parameter_info.parser:
        return False
    if descriptor.annotation == list[str] and isinstance(value, list | tuple):
        return bool(value) and all(isinstance(item, str) for item in value)
    return type(value) is descriptor.annotation
