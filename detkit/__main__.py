"""`python -m detkit` is the `detkit` command."""

from detkit.cli import main

if __name__ == "__main__":
    main()
