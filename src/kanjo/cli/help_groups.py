"""The list of commands in ``kanjo --help``, grouped by purpose."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from kanjo.cli.console import abandon_output

PREDICT, TRAIN, CORPORA, TOOLS = "Predict", "Train", "Corpora", "Tools"
_OTHERS = "Commands"
#: Length of a short help text that is not shortened; long ones continue in the next line.
_WHOLE = 1000


class GroupedCommands(TyperGroup):
    """A command whose ``--help`` lists its subcommands by their ``rich_help_panel``."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command. If the reader of stdout has exited, as `| head` does, it ends without an error."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # Typer would exit with code 1
            abandon_output()
            raise typer.Exit(0) from None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write one section per group."""
        # Typer lists plain commands before groups of commands, so the order of the sections is set here.
        groups: dict[str, list[tuple[str, Any]]] = {title: [] for title in (PREDICT, TRAIN, CORPORA, TOOLS, _OTHERS)}
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                panel = getattr(command, "rich_help_panel", None)
                groups[panel if panel in groups else _OTHERS].append((name, command))
        for title, commands in groups.items():
            if not commands:
                continue
            with formatter.section(title):
                formatter.write_dl([(name, command.get_short_help_str(_WHOLE)) for name, command in commands])
