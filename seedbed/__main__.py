"""`python -m seedbed` is the command `seedbed`; `torchrun -m seedbed` starts it on many devices."""

from seedbed.cli import main

if __name__ == "__main__":
    main()
