"""``python -m compose`` is the `veristream` command."""

import sys

from compose.cli import main

if __name__ == "__main__":
    sys.exit(main())
