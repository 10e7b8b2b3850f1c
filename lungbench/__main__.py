"""``python -m lungbench <command>``: the same as ``lungbench`` and ``python -m benchmark``."""

import sys

from benchmark.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
