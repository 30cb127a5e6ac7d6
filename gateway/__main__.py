"""`python -m gateway` is `campaign-gateway`."""

import sys

from gateway.cli import main

sys.exit(main())
