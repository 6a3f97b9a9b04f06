"""docs/redis.md shows the rule that the tests run with."""

from __future__ import annotations

import re
from pathlib import Path

from tests import redis_acl

PAGE = Path(__file__).parents[3] / "docs" / "redis.md"


def test_the_rule_of_the_page_is_the_shipped_one() -> None:
    (rule,) = re.findall(r"<!-- acl -->\n```\n(.*)\n```", PAGE.read_text())
    assert rule == redis_acl.shipped()
