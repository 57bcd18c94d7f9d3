"""`python -m entrain`: the command line, where the command `entrain` is not on the PATH."""

import sys

from entrain.cli import main

if __name__ == "__main__":
    sys.exit(main())
