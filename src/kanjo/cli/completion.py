"""Completion of commands, options and names in the shell."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import typer

from kanjo.cli.console import abandon_output

#: Set by the shell when it requests completions.
_VARIABLE = "_KANJO_COMPLETE"
SHELLS = ("bash", "zsh", "fish", "powershell")


def show_completion(shell: str | None) -> None:
    """Print the script that makes a shell complete ``kanjo``; None: do nothing.

    Raises:
        typer.BadParameter: Another shell.
        typer.Exit: The script was printed.
    """
    if shell is None:
        return
    if shell not in SHELLS:
        raise typer.BadParameter(f"{shell!r}: expected {', '.join(SHELLS[:-1])} or {SHELLS[-1]}")
    print(_typer_completion().get_completion_script(prog_name="kanjo", complete_var=_VARIABLE, shell=shell))
    raise typer.Exit


def complete_if_requested(command: Any, arguments: Any, program: str) -> None:
    """Print completions and exit if the shell has requested them.

    Typer registers its shells only where ``add_completion`` is set; that adds two options and takes time at each start.
    """
    instruction = os.environ.get(_VARIABLE)
    if not instruction:
        return
    typer_completion = _typer_completion()
    typer_completion.completion_init()
    try:
        exit_code = typer_completion.shell_complete(command, arguments, program, _VARIABLE, instruction)
    except KeyError as error:  # a variable of the shell's request
        typer.echo(f"{_VARIABLE} is set, but not {error}; unset it", err=True)
        exit_code = 1
    except BrokenPipeError:
        abandon_output()
        exit_code = 0
    raise SystemExit(exit_code)


def complete_recipe(incomplete: str) -> list[tuple[str, str]]:
    """Return the built-in recipes that begin with a text, with their descriptions."""
    from kanjo.cli.models import recipe_descriptions

    return [(name, text) for name, text in recipe_descriptions().items() if name.startswith(incomplete)]


def complete_model(incomplete: str) -> list[str]:
    """Return the built-in models that begin with a text."""
    from kanjo.bundle.storage import builtin_bundles

    return [folder.name for folder in builtin_bundles() if folder.name.startswith(incomplete)]


def _typer_completion() -> Any:
    """Typer's module; it does not declare the functions that it has from its private modules."""
    return import_module("typer.completion")
