"""``python -m faultsim`` is ``faultsim``: the command line, and nothing else."""

from faultsim.cli import main

if __name__ == "__main__":
    main()
