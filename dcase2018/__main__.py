"""`python -m dcase2018`."""

from dcase2018.cli.main import main

main(prog_name="dcase2018")
