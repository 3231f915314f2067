"""`python -m shelfsight` is the `shelfsight` command."""

from shelfsight.cli import main

if __name__ == "__main__":
    main()
