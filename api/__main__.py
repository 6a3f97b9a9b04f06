"""``python -m api`` is ``livestate serve``."""

from api.cli import main

main(["serve"])
