"""Are the tests able to fail? `python tests/mutants.py [ROOM ...] [--sample N] [--seed S]` asks cosmic-ray.

A mutant is the package with one small change: a `<` that became `<=`, a 5 that became 6, a condition turned round. The
tests of a room should notice each. For every room this draws a seeded sample of places in its code, at each place one
of cosmic-ray's changes, runs the tests of the room against it with a time-out, and prints how many were noticed, and
those that were not as diffs: each is a test to write, or code that makes no difference.

The working tree is not touched: everything happens in a copy in a temporary folder. Needs `pip install ".[mutation]"`.
Not part of the suite: a mutant costs a start of Python and the tests of the room, so 25 of each of the four rooms take
about twelve minutes on one core.
"""

import argparse
import contextlib
import logging
import os
import random
import re
import shutil
import sys
import tempfile
import time
from pathlib import Path

from cosmic_ray.commands.init import init
from cosmic_ray.config import ConfigDict, load_config
from cosmic_ray.modules import find_modules
from cosmic_ray.mutating import mutate_and_test
from cosmic_ray.testing import run_tests
from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import MutationSpec, TestOutcome

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("model", "training", "tiles", "trust")
COPIED = ("src/zatlas", "tests", "pyproject.toml")


def copy_tree(to: Path) -> None:
    """Copy what the tests of these rooms need, without caches and without the built page."""
    skipped = shutil.ignore_patterns("__pycache__", "static", ".static-*", ".hypothesis")
    for name in COPIED:
        source, target = ROOT / name, to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target, ignore=skipped) if source.is_dir() else shutil.copy(source, target)


def all_mutations(room: str, config: ConfigDict) -> list[MutationSpec]:
    """Every change that cosmic-ray knows in a room, less those that the configuration leaves out."""
    left_out = config.sub("filters", "operators-filter").get("exclude-operators", ())
    is_left_out = re.compile("|".join(left_out) or r"(?!)")
    modules = sorted(find_modules([Path(config["module-path"][0]) / room]))
    with use_db(":memory:", WorkDB.Mode.create) as database:
        init(modules, database, {})
        found = [mutation for item in database.work_items for mutation in item.mutations]
    return [mutation for mutation in found if not is_left_out.match(mutation.operator_name)]


def sample(mutations: list[MutationSpec], n: int, seed: int) -> list[MutationSpec]:
    """Draw places first and then one change at each, or arithmetic, with eleven changes a sign, would crowd it out."""
    places: dict[tuple[str, tuple[int, int]], list[MutationSpec]] = {}
    order = sorted(mutations, key=lambda one: (str(one.module_path), one.start_pos, one.operator_name, one.occurrence))
    for mutation in order:
        places.setdefault((str(mutation.module_path), mutation.start_pos), []).append(mutation)
    chance = random.Random(seed)
    chosen = chance.sample(sorted(places), min(n, len(places)))
    return [chance.choice(places[place]) for place in chosen]


def judge(room: str, n: int, seed: int, config: ConfigDict) -> bool:
    """Print the score of a room and its survivors; whether the tests pass on the code as it is."""
    command = f"{sys.executable} {config.test_command.removeprefix('python ')} tests/{room}"
    started = time.perf_counter()
    outcome, output = run_tests(command, config.timeout)
    if outcome != TestOutcome.SURVIVED:
        print(f"{room}: the tests fail without any mutant\n{output}")
        return False
    limit = min(config.timeout, 30 + 3 * (time.perf_counter() - started))
    mutations = all_mutations(room, config)
    counts, survivors = {"killed": 0, "survived": 0, "timeout": 0}, []
    chosen = sample(mutations, n, seed)
    for done, mutation in enumerate(chosen, start=1):
        result = mutate_and_test([mutation], command, limit)
        is_late = result.output == "timeout"
        word = "survived" if not result.is_killed else "timeout" if is_late else "killed"
        counts[word] += 1
        if word == "survived":
            survivors.append(result.diff or "")
        where = f"{mutation.module_path}:{mutation.start_pos[0]}"
        print(f"  {room} {done}/{len(chosen)} {word}: {where} {mutation.operator_name}", file=sys.stderr, flush=True)
    score = 100 * (len(chosen) - counts["survived"]) / max(len(chosen), 1)
    numbers = ", ".join(f"{count} {word}" for word, count in counts.items())
    seconds = time.perf_counter() - started
    print(
        f"{room}: {score:.0f} % noticed ({numbers}; {len(chosen)} of {len(mutations)} mutants, seed {seed}, "
        f"{seconds:.0f} s)"
    )
    for diff in survivors:
        print(diff)
    sys.stdout.flush()
    return True


def main() -> int:
    """Read the command line and judge the rooms, one after another."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"of {', '.join(ROOMS)}; by default all")
    parser.add_argument("--sample", type=int, default=25, help="mutants of each room (default 25)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default 0)")
    options = parser.parse_args()
    unknown = sorted(set(options.rooms) - set(ROOMS))
    if unknown:
        parser.error(f"no room is called {unknown[0]}; choose of {', '.join(ROOMS)}")
    logging.getLogger().setLevel(logging.ERROR)
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory(prefix="zatlas-mutants-") as folder:
        copy_tree(Path(folder))
        os.environ["PYTHONPATH"] = str(Path(folder, "src"))
        with contextlib.chdir(folder):
            config = load_config("tests/mutants.toml")
            are_fine = [judge(room, options.sample, options.seed, config) for room in options.rooms or ROOMS]
    return 0 if all(are_fine) else 1


if __name__ == "__main__":
    raise SystemExit(main())
