"""The door of a checkout: ``python cli.py assess …`` runs the command line without an install."""

from faultsim.cli import main

if __name__ == "__main__":
    main()
