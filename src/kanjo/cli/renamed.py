"""Old names of commands and options, refused with the new name."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from kanjo.errors import KanjoError

#: Old command -> what to write now.
RENAMED_COMMANDS = {
    "corpus audit": "'kanjo corpus audit' is now 'kanjo corpus leakage'",
    "join": "'kanjo join' was removed; compare runs with 'kanjo report', and use the best one",
}
#: Old option, or option with value -> what to write now.
RENAMED_OPTIONS = {
    "--untested": "--untested is now --skip-test",
    "--all": "--all is now --include-training-speakers",
    "--enrolled": "--enrolled is now --with-enrollment",
    "--by-speaker": "--by-speaker is now --speaker-normalization",
    "--conditions": "--conditions is now --robustness",
    "--find-lr": "--find-lr was removed; search the learning rate with 'kanjo tune RECIPE'",
    "--stage finetune": "--stage finetune is now --stage stage1",
    "--stage train": "--stage train is now --stage stage2",
}


class RenamedError(KanjoError):
    """An old name of a command or an option. A usage error."""


def check_renamed(arguments: Sequence[str]) -> None:
    """Refuse old names of commands and options.

    Args:
        arguments: The command line without the program.

    Raises:
        RenamedError: With the new name.
    """
    if "--" in arguments:  # what follows are file names
        arguments = arguments[: list(arguments).index("--")]
    command = [word for word in arguments if not word.startswith("-")]
    for name in (" ".join(command[:1]), " ".join(command[:2])):
        if name in RENAMED_COMMANDS:
            raise RenamedError(RENAMED_COMMANDS[name])
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--") else [word])]
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        for name in (word, f"{word} {following}"):
            if name in RENAMED_OPTIONS:
                raise RenamedError(RENAMED_OPTIONS[name])
