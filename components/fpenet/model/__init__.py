"""The net and its training.

Of OpenMP's threads, one that waits for another looks again a thousand times, then sleeps. GNU's
default, 300,000 times, takes the core from the very thread it waits for as soon as anything else
runs: with one other busy process training fell to a third of its rate; alone it is as fast this
way (benchmarks/results/training.md). ``GOMP_SPINCOUNT`` or ``OMP_WAIT_POLICY`` of the environment
come first. It counts where torch is loaded after this package.
"""

import os

if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
