"""``python -m fastnn``: the same as the command ``fastnn``."""

import sys

from .cli import main

sys.exit(main())
