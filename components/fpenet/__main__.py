"""``python -m fpenet``: the command line, also under ``torchrun -m fpenet``."""

from fpenet.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
