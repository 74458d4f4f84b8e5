"""`python -m virtualphone`."""

import sys

from virtualphone import cli

sys.exit(cli.main())
