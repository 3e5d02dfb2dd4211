"""`python -m moorage`: the same as the console script."""

import sys

from moorage.cli.main import main

sys.exit(main())
