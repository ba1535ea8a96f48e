"""Run the command ``kanjo`` with ``python -m kanjo``."""

from kanjo.cli import main

if __name__ == "__main__":
    main()
