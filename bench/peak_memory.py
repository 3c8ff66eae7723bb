"""Run a `seedbed` command in this process and print the most memory it had, in bytes, as the last line of stderr.

python bench/peak_memory.py train RECIPE ...
"""

import resource
import sys

from seedbed.cli import main

if __name__ == "__main__":
    try:
        main()
    except SystemExit as end:
        if end.code:
            raise
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, file=sys.stderr)
