"""Entry point, for `python -m spark_jobs` and for `spark-submit` alike."""

import sys

from spark_jobs.cli import main

sys.exit(main())
