"""`python -m services.cli`."""

from services.cli.main import main

main(prog_name="partnerapi")
