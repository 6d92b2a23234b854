"""`python -m tests.fuzz [--runs N] [--target NAME] [--seed S]`, guided where atheris is installed."""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz import house, mutate, reached

#: In all targets together.
RUNS = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help="inputs, in all targets together")
    parser.add_argument("--target", choices=house.TARGETS, help="this one alone")
    parser.add_argument("--seed", type=int, default=1, help="of the mutation")
    parser.add_argument("--repeat", type=Path, metavar="FILE", help="one input, without mutation")
    options = parser.parse_args()
    names = [options.target] if options.target else list(house.TARGETS)
    if options.repeat is not None:
        if not options.target:
            parser.error("--repeat needs --target, whose input it is")
        repeat(options.target, options.repeat)
        return
    is_guided = importlib.util.find_spec("atheris") is not None
    if not is_guided:
        print("atheris is not installed: inputs are mutated without guidance", flush=True)
    shares = sum(house.SHARES[name] for name in names)
    broken = [
        name
        for name in names
        if not run(name, -(-options.runs * house.SHARES[name] // shares), options.seed, is_guided=is_guided)
    ]
    if broken:
        sys.exit(f"broken: {', '.join(broken)}")


def repeat(name: str, path: Path) -> None:
    target = house.load(name)
    with house.bounded(target):
        target.check(path.read_bytes())
    print(f"{name}: {path} breaks nothing")


def run(name: str, runs: int, seed: int, *, is_guided: bool) -> bool:
    """Whether the target withstood so many inputs; says what it took and reached."""
    with tempfile.TemporaryDirectory(prefix="papa-fuzz-") as folder:
        corpus = Path(folder)
        began = time.monotonic()
        is_whole = (guided if is_guided else unguided)(name, runs, seed, corpus)
        seconds = time.monotonic() - began
        if not is_whole:
            return False
        print(f"{name}: {runs} inputs in {seconds:.0f} s, {runs / seconds:.0f} each second", flush=True)
        target = house.load(name)
        with house.bounded(target):
            inputs = [path.read_bytes() for path in sorted(corpus.iterdir())]
            for room, (hit, lines) in reached.coverage(target, inputs).items():
                print(f"    {room}: {hit} of {lines} lines, {100 * hit // lines} %", flush=True)
    return True


def guided(name: str, runs: int, seed: int, corpus: Path) -> bool:
    target = house.load(name)
    for number, data in enumerate(target.seeds()):
        (corpus / f"seed-{number:03}").write_bytes(data)
    words = corpus.parent / f"{corpus.name}.words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.WORDS))
    house.FOUND.mkdir(exist_ok=True)
    try:
        done = subprocess.run(
            [
                sys.executable, "-m", "tests.fuzz.guided", name, str(corpus), f"-runs={runs}", f"-seed={seed}",
                f"-max_len={house.MAX_INPUT}", f"-timeout={house.MAX_SECONDS}", f"-rss_limit_mb={house.MAX_MEMORY_MB}",
                f"-dict={words}", f"-artifact_prefix={house.FOUND}/{name}-", "-len_control=20",
            ],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=dict(os.environ),
        )  # fmt: skip
    finally:
        words.unlink()
    if done.returncode == 0:
        last = re.search(r"^#\d+\s+DONE\s+(cov: .*?) exec/s", done.stdout, re.MULTILINE)
        print(f"{name}: {last[1] if last else 'done'}", flush=True)
        return True
    print(done.stdout[-6000:])
    found = re.search(r"Test unit written to (\S+)", done.stdout)
    print(house.how_to_repeat(name, found[1]) if found else f"{name}: ended with {done.returncode}", flush=True)
    return False


def unguided(name: str, runs: int, seed: int, corpus: Path) -> bool:
    target = house.load(name)
    inputs = mutate.inputs(target.seeds(), target.WORDS, seed=seed, limit=house.MAX_INPUT)
    with house.bounded(target):
        for number, data in enumerate(itertools.islice(inputs, runs)):
            try:
                target.check(data)
            except Exception:
                print(house.how_to_repeat(name, house.keep(name, data)), file=sys.stderr)
                raise
            if number < len(target.seeds()) + 1000:
                (corpus / f"{number:06}").write_bytes(data)
    return True


def _escaped(word: bytes) -> str:
    return "".join(chr(c) if c < 128 and chr(c).isalnum() else f"\\x{c:02x}" for c in word)


if __name__ == "__main__":
    main()
