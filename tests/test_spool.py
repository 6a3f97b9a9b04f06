"""The spool of CDRs: what waits on disk waits in memory too, at the price of its bytes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CDRS = 20_000
# In a process of its own, whose memory nobody else has touched.
FILLED = """
import os, sys
from pathlib import Path
import orjson
from livestate.runtime.spool import Spool

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

spool = Spool(Path(sys.argv[1]), most_bytes=1 << 30)
before = resident()
for number in range(int(sys.argv[2])):
    cdr = {"phase": "ended", "call_id": f"{number}@10.0.0.1", "from": "x" * 300}
    assert spool.append(f"node-1-{number}", orjson.dumps(cdr))
print((resident() - before) // len(spool))
"""


def test_a_cdr_that_waits_costs_its_bytes_and_not_a_page_of_memory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILLED, str(tmp_path / "spool"), str(CDRS)],
        capture_output=True, check=True, text=True,
    )  # fmt: skip
    assert int(done.stdout) < 2_000, "a gigabyte of spool would be ten of memory"
