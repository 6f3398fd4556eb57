"""``python -m maskft.cli``."""

import sys

from maskft.cli import main

if __name__ == "__main__":  # doctest imports every module
    sys.exit(main())
