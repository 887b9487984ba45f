"""`python -m dcase2018`."""

import sys

if not sys.flags.safe_path:
    del sys.path[0]  # the working directory, whose Python files must not be imported

from dcase2018.cli.main import main

main(prog_name="dcase2018")
