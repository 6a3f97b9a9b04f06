"""``make mutants``: a seeded sample of small faults in the core, and which of them no test notices.

Each mutant is one changed line in a copy of the tree (``trial.py``). The tests of its module's
household run until the first failure; a mutant that they all pass has survived. A survivor is a
missing test of a promise, or it is equivalent: then it stands in ``equivalent.txt`` beside this
file with its reason.

Exit code 1 if less than ``--floor`` of the sample's other mutants died, 2 if a test fails already
without a mutant.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import queue
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.mutants.households import HOUSEHOLDS
from tests.mutants.operators import mutations
from tests.mutants.trial import ROOT, BaselineFailed, Mutant, Test, Tree, function_around

EQUIVALENT: Final = Path(__file__).with_name("equivalent.txt")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sample", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--floor", type=float, default=0.95, help="the share that must die")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="mutants whose name holds this text")
    parser.add_argument("--all", action="store_true", help="every mutant, not a sample")
    parser.add_argument("--killers", action="store_true", help="name the test that noticed each")
    options = parser.parse_args()
    everyone = _mutants()
    sample = everyone if options.all else _sampled(everyone, options.sample, options.seed)
    sample = [mutant for mutant in sample if options.only in mutant.name]
    known = _equivalent()
    for name in sorted(known - {mutant.name for mutant in everyone}):
        print(f"no longer a mutant, in {EQUIVALENT.name}: {name}")
    tried = [mutant for mutant in sample if mutant.name not in known]
    print(f"{len(everyone)} mutants of {sum(len(h.modules) for h in HOUSEHOLDS)} modules; "
          f"{len(sample)} are sampled (seed {options.seed})", flush=True)  # fmt: skip
    began = time.monotonic()
    try:
        survivors = _tried(tried, options.workers, killers=options.killers)
    except BaselineFailed as error:
        print(str(error)[-6000:])
        return 2
    _print_table(sample, tried, survivors)
    died = 1 - len(survivors) / max(len(tried), 1)
    verdict = "ok" if died >= options.floor else "TOO FEW"
    print(f"{len(tried) - len(survivors)} of {len(tried)} died: {died:.1%} ({verdict}, "
          f"floor {options.floor:.0%}), {time.monotonic() - began:.0f} s")  # fmt: skip
    return 0 if died >= options.floor else 1


def _mutants() -> list[Mutant]:
    found = []
    for household in HOUSEHOLDS:
        for module in household.modules:
            source = (ROOT / module).read_text()
            lines, tree = source.splitlines(), ast.parse(source)
            found += [Mutant(household, module, function_around(tree, one.line), one,
                             lines[one.line - 1].strip()) for one in mutations(source)]  # fmt: skip
    return found


def _sampled(mutants: list[Mutant], size: int, seed: int) -> list[Mutant]:
    """``size`` of the mutants. Each is drawn by a hash of its own name, so a change of another line
    exchanges hardly any of them, and the samples of two commits can be compared."""
    same: Counter[str] = Counter()
    drawn = []
    for number, mutant in enumerate(mutants):
        name = f"{mutant.function} {mutant.path}: {mutant.line_of_code}  [{mutant.mutation.what}]"
        same[name] += 1
        ticket = hashlib.sha256(f"{seed} {same[name]} {name}".encode()).digest()
        drawn.append((ticket, number))
    return [mutants[number] for _, number in sorted(drawn)[:size]]


def _equivalent() -> set[str]:
    lines = EQUIVALENT.read_text().splitlines()
    return {line for line in lines if line and not line.startswith("#")}


def _tried(mutants: list[Mutant], workers: int, *, killers: bool) -> list[Mutant]:
    """The survivors, each printed when it is found. Raises BaselineFailed."""
    with tempfile.TemporaryDirectory(prefix="livestate-mutants-") as home:
        trees: queue.SimpleQueue[Tree] = queue.SimpleQueue()
        for number in range(workers):
            trees.put(Tree(Path(home) / str(number)))
        wanted = list(dict.fromkeys(file for mutant in mutants for file in mutant.household.tests))

        def baseline(file: str) -> list[Test]:
            tree = trees.get()
            try:
                return tree.baseline(file)
            finally:
                trees.put(tree)

        def survives(mutant: Mutant) -> bool:
            own = [test for file in mutant.household.tests for test in tests[file]]
            tree = trees.get()
            try:
                killer = tree.killer(mutant, own)
            finally:
                trees.put(tree)
            if killer is None or killers:
                print(f"{'SURVIVED' if killer is None else killer}  {mutant.path}:"
                      f"{mutant.mutation.line}  {mutant.mutation.what}\n"
                      f"          {mutant.line_of_code}", flush=True)  # fmt: skip
            return killer is None

        with ThreadPoolExecutor(workers) as pool:
            tests = dict(zip(wanted, pool.map(baseline, wanted), strict=True))
            verdicts = list(pool.map(survives, mutants))
        while not trees.empty():
            trees.get().close()
    return [mutant for mutant, survived in zip(mutants, verdicts, strict=True) if survived]


def _print_table(sample: list[Mutant], tried: list[Mutant], survivors: list[Mutant]) -> None:
    sampled, alive, judged = (
        Counter(mutant.household.name for mutant in some) for some in (sample, survivors, tried)
    )
    print(f"{'household':12}{'mutants':>9}{'killed':>9}{'equivalent':>12}{'survived':>10}")
    for name, number in (*sampled.items(), ("all", sampled.total())):
        left, run = (
            (alive.total(), judged.total()) if name == "all" else (alive[name], judged[name])
        )
        print(f"{name:12}{number:9}{run - left:9}{number - run:12}{left:10}")


if __name__ == "__main__":
    sys.exit(main())
