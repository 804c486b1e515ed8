"""``python -m vecferry``."""

import sys

from vecferry.cli import main

sys.exit(main())
