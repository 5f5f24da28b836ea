#!/usr/bin/env python3
"""tests/golden/reasoning_gym.json: responses to reasoning-gym questions, right and corrupted, with the package's scores.

Usage: reasoning_gym_golden.py OUT.json     (needs the PyPI package reasoning-gym)

For the tasks of make_reasoning_gym.py, `pairs` holds [task, gold, answer, score_answer(answer)] for golds as they are
and corrupted: another entry's gold, a changed digit or letter, parts exchanged, dropped or doubled, another sign.
`superfluous` holds those with a doubled last part that the package gives the full point all the same: some of its scorers
count right words up to the gold's length and look no further.
"""
import json
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from make_reasoning_gym import EXACT_TASKS  # noqa: E402


def corruptions(answer, others, rng):
    yield rng.choice(others)
    at = [i for i, c in enumerate(answer) if c.isalnum()]
    if at:
        i = rng.choice(at)
        c = answer[i]
        new = rng.choice([d for d in ("123456789" if c.isdigit() else "bcdfgkmnprst") if d != c.lower()])
        yield answer[:i] + new + answer[i + 1:]
    for separator in (", ", " ", "/"):
        parts = answer.split(separator)
        if len(parts) > 1:
            yield separator.join(reversed(parts))
            yield separator.join(parts[:-1])
            yield separator.join(parts + parts[-1:])
            break
    if answer[0].isdigit() and answer != "0":
        yield "-" + answer
    if answer[0] == "-":
        yield answer[1:]


def main():
    import reasoning_gym
    pairs, superfluous = [], []
    for task in EXACT_TASKS:
        rng = random.Random(task)
        dataset = reasoning_gym.create_dataset(task, size=12, seed=7)
        golds = [dataset[i]["answer"].strip() for i in range(12)]
        seen = set()
        for i, gold in enumerate(golds):
            for answer in [gold, *corruptions(gold, golds, rng)]:
                if (i, answer) not in seen:
                    seen.add((i, answer))
                    pair = [task, gold, answer, dataset.score_answer(answer, dataset[i])]
                    (superfluous if answer.startswith(gold + ", ") and pair[3] >= 1 else pairs).append(pair)
    lists = [",\n".join(json.dumps(pair) for pair in pairs_of) for pairs_of in (pairs, superfluous)]
    Path(sys.argv[1]).write_text('{"pairs": [\n%s\n],\n"superfluous": [\n%s\n]}\n' % tuple(lists), encoding="utf-8")
    print(f"{len(pairs)} pairs, {sum(p[3] >= 1 for p in pairs)} accepted; {len(superfluous)} with superfluous words")


if __name__ == "__main__":
    main()
