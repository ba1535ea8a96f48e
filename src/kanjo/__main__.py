"""``python -m kanjo`` is the ``kanjo`` command."""

from kanjo.cli import main

if __name__ == "__main__":
    main()
