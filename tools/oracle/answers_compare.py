#!/usr/bin/env python3
"""Flexible matching of answers against math-verify: gold answers of whole test sets and variants of them.

Usage: answers_compare.py RAW [--elrea PATH] [--show N] [--limit N]     (needs the PyPI package math-verify)

RAW holds math/, gsm8k/, svamp/ and mathqa/ as published. Each gold is compared with variants that keep its value (other
spellings of fractions, roots, text, units, per cent, degrees, mixed numbers, brackets) and with some that do not (a
changed digit, a dropped part, a sign, exchanged parts of a list). Prints per rule n, the shares that elrea and
math-verify accept, how often they disagree, and N disagreements of each kind.
"""
import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

SETS = {"math": "test.jsonl", "gsm8k": "test.jsonl", "svamp": "test.json", "mathqa": "test.jsonl"}


def golds(elrea, raw, limit):
    found = set()
    for kind, name in SETS.items():
        lines = subprocess.run([elrea, "data", "import", kind, raw / kind / name], check=True, capture_output=True, text=True).stdout
        answers = sorted({json.loads(line)["answer"] for line in lines.split("\n") if line})
        random.Random(kind).shuffle(answers)
        found |= {(kind, a) for a in answers[:limit]}
    return sorted(found)


def plain_fraction(text):
    return re.fullmatch(r"(-?)\\[dt]?frac\{(\d+)\}\{(\d+)\}", text)


def same(gold):
    """Variants that keep the value, each with its rule."""
    yield "as it is", gold
    yield "dollars", f"${gold}$"
    yield "text around", f"\\text{{{gold}}}" if re.fullmatch(r"[A-Za-z ]+", gold) else None
    yield "dfrac", gold.replace("\\frac", "\\dfrac") if "\\frac" in gold else None
    yield "tfrac", gold.replace("\\frac", "\\tfrac") if "\\frac" in gold else None
    if match := plain_fraction(gold):
        sign, a, b = match.groups()
        yield "a/b", f"{sign}{a}/{b}"
        yield "frac without braces", f"{sign}\\frac{a}{b}" if len(a) == len(b) == 1 else None
        yield "minus inside", f"\\frac{{{sign}{a}}}{{{b}}}" if sign else None
        value = Fraction(int(a), int(b))
        scaled = value.denominator
        for prime in (2, 5):
            while scaled % prime == 0:
                scaled //= prime
        yield "decimal", sign + str(float(value)) if scaled == 1 else None
        yield "not reduced", f"{sign}\\frac{{{3 * int(a)}}}{{{3 * int(b)}}}"
        if value > 1 and value.denominator > 1 and not sign:
            whole, rest = divmod(value, 1)
            yield "mixed number", f"{whole}\\frac{{{rest.numerator}}}{{{rest.denominator}}}"
            yield "mixed number, plain", f"{whole} {rest.numerator}/{rest.denominator}"
    if re.fullmatch(r"-?\d+", gold):
        yield "decimal zero", gold + ".0"
        yield "plus sign", "+" + gold if gold[0] != "-" else None
        yield "degrees", gold + "^\\circ"
        yield "per cent", gold + "\\%"
        yield "unit in text", gold + "\\text{ cm}"
        yield "thousands", f"{int(gold):,}" if abs(int(gold)) > 999 else None
        yield "thousands, LaTeX", f"{int(gold):,}".replace(",", "{,}") if abs(int(gold)) > 999 else None
        yield "x =", "x = " + gold
    yield "left right", gold.replace("(", "\\left(").replace(")", "\\right)") if "(" in gold and "\\left" not in gold else None
    yield "no left right", gold.replace("\\left", "").replace("\\right", "") if "\\left" in gold else None
    yield "sqrt without braces", re.sub(r"\\sqrt\{(\w)\}", r"\\sqrt\1", gold) if re.search(r"\\sqrt\{\w\}", gold) else None
    yield "thin spaces", re.sub(r",(?=\S)", r",\\ ", gold) if "," in gold and not re.fullmatch(r"[\d,]+", gold) else None
    yield "bmatrix", gold.replace("pmatrix", "bmatrix") if "pmatrix" in gold else None
    yield "brackets escaped", f"\\[{gold}\\]"


def different(gold, rng):
    digits = [i for i, c in enumerate(gold) if c.isdigit()]
    if digits:
        i = rng.choice(digits)
        yield "digit changed", gold[:i] + rng.choice([d for d in "123456789" if d != gold[i]]) + gold[i + 1:]
    yield "sign", gold[1:] if gold.startswith("-") else "-" + gold if re.match(r"[\d\\]", gold) and gold != "0" and "\\pm" not in gold else None
    if match := plain_fraction(gold):
        yield "turned over", f"{match[1]}\\frac{{{match[3]}}}{{{match[2]}}}" if match[2] != match[3] else None
    if re.fullmatch(r"\(-?\w+,\s*-?\w+\)", gold):
        a, b = re.split(r",\s*", gold[1:-1])
        yield "exchanged", f"({b},{a})" if a != b else None
        yield "part dropped", f"({a})"
    yield "factor", "2" + gold if re.match(r"\\(pi|sqrt)", gold) else None


def theirs(gold, variant):
    from math_verify import parse, verify
    try:
        return bool(verify(parse(f"\\boxed{{{gold}}}", parsing_timeout=None), parse(f"\\boxed{{{variant}}}", parsing_timeout=None), timeout_seconds=None))
    except Exception:
        return False


def ours(elrea, pairs):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.jsonl"
        path.write_text("".join(json.dumps({"response": f"\\boxed{{{v}}}", "gold": g}) + "\n" for _, _, _, g, v in pairs))
        out = subprocess.run([elrea, "data", "match", path, "--json"], check=True, capture_output=True, text=True).stdout
    return [json.loads(line)["flexible"] for line in out.split("\n") if line]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("raw", type=Path)
    parser.add_argument("--elrea", default="build/release/elrea")
    parser.add_argument("--show", type=int, default=3)
    parser.add_argument("--limit", type=int, default=10**9, help="golds of each set")
    options = parser.parse_args()
    pairs = []
    for kind, gold in golds(options.elrea, options.raw, options.limit):
        if "\n" in gold:
            continue
        pairs += [(True, rule, kind, gold, v) for rule, v in same(gold) if v is not None]
        pairs += [(False, rule, kind, gold, v) for rule, v in different(gold, random.Random(gold)) if v not in (None, gold)]
    accepted = ours(options.elrea, pairs)
    assert len(accepted) == len(pairs)
    rules, samples = defaultdict(lambda: [0, 0, 0, 0]), defaultdict(list)
    for (equal, rule, _, gold, variant), we in zip(pairs, accepted):
        they = theirs(gold, variant)
        counts = rules[(not equal, rule)]
        for i, add in enumerate((1, we, they, we != they)):
            counts[i] += add
        if we != they:
            samples[(not equal, rule, we)].append((gold, variant))
    print(f"{'rule':28} {'equal':5} {'n':>6} {'elrea, %':>9} {'math-verify, %':>15} {'disagree, %':>12}")
    for (unequal, rule), (n, we, they, differ) in sorted(rules.items()):
        print(f"{rule:28} {'no' if unequal else 'yes':5} {n:6} {100 * we / n:9.2f} {100 * they / n:15.2f} {100 * differ / n:12.2f}")
    n, differ = sum(c[0] for c in rules.values()), sum(c[3] for c in rules.values())
    print(f"{'all':34} {n:6} {'':9} {'':15} {100 * differ / n:12.2f}\n")
    for (unequal, rule, we), found in sorted(samples.items()):
        for gold, variant in random.Random(0).sample(found, min(options.show, len(found))):
            print(f"{'elrea' if we else 'math-verify'} alone accepts, {rule}: {gold}  |  {variant}")


if __name__ == "__main__":
    main()
