"""What the documents say of the code is what the code says of itself."""

from __future__ import annotations

from docs.generate import main


def test_the_generated_pages_are_those_of_the_code() -> None:
    assert main(["--check"]) == 0
