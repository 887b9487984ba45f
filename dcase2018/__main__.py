"""`python -m dcase2018`."""

from dcase2018.cli import main

main(prog_name="dcase2018")
