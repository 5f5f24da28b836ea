"""Writes tests/golden/answers.json: pairs of answers that must match and pairs that must not.

The gold answers are those of MATH and MathQA (folders math/ and mathqa/ of --raw, in their own formats). A pair that
must match is a gold answer and one of its rewritings that keep the meaning; a pair that must not match is a gold
answer with one digit changed or its sign flipped, or a MathQA option against the correct one when the two differ as
text and in value (python's Fraction). Nothing here uses the code under test.

    python tools/oracle/make_answer_golden.py --raw DIR --output tests/golden/answers.json
"""

import argparse
import json
import random
import re
from fractions import Fraction
from pathlib import Path

EQUAL_PAIRS = 700
DIFFERENT_PAIRS = 700


def read_rows(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def last_boxed(text):
    start = text.index("{", text.rfind("\\boxed"))
    depth = 0
    for at in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[start + 1 : at]
    raise ValueError(text)


def mathqa_options(text):
    if text.startswith("["):
        text = " , ".join(json.loads(text.replace('"', "\\u0022").replace("'", '"')))
    parts = re.split(r"(?:^| , )([a-e]) \) ", text)
    return {k: re.sub(r"^([a-e] \) )+", "", v) for k, v in zip(parts[1::2], parts[2::2])}


def value(text):
    text = text.replace(" ", "").rstrip("%.").lstrip("$")
    try:
        return Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None


def rewritings(gold):
    """Other spellings of the same answer, each with the rule's name."""
    yield "dollars", f"${gold}$"
    yield "full stop", f"{gold}."
    yield "outer spaces", f"  {gold} "
    if "\\text" not in gold and "\\mbox" not in gold:
        yield "operator spaces", re.sub(r"(?<=[\w})])([+\-])(?=[\w\\({])", r" \1 ", gold)
    if "\\frac{" in gold:
        yield "dfrac", gold.replace("\\frac{", "\\dfrac{")
        yield "tfrac", gold.replace("\\frac{", "\\tfrac{")
        yield "bare frac", re.sub(r"\\frac\{(\d)\}\{(\d)\}", r"\\frac\1\2", gold)
        if re.fullmatch(r"-?\\frac\{\d+\}\{\d+\}", gold):
            yield "slash", re.sub(r"\\frac\{(\d+)\}\{(\d+)\}", r"\1/\2", gold)
            yield "sign inside", re.sub(r"^-\\frac\{(\d+)\}", r"\\frac{-\1}", gold)
    if re.fullmatch(r"-?\d+", gold):
        yield "point zero", f"{gold}.0"
        yield "thousands", f"{int(gold):,}"
        yield "latex thousands", f"{int(gold):,}".replace(",", ",\\!")
        yield "braced thousands", f"{int(gold):,}".replace(",", "{,}")
        yield "text", f"\\text{{{gold}}}"
        yield "variable", f"x = {gold}"
        yield "unit", f"{gold} \\text{{ cm}}"
        yield "per cent", f"{gold}\\%"
        yield "degrees", f"{gold}^\\circ"
        yield "money", f"\\${gold}"
    if gold.startswith("-"):
        yield "unicode minus", "\u2212" + gold[1:]
    if gold.startswith("(") and gold.endswith(")"):
        yield "left right", f"\\left{gold[:-1]}\\right)"
    if "\\pi" in gold:
        yield "unicode pi", gold.replace("\\pi", "\u03c0")
    if "\\sqrt{" in gold:
        yield "bare root", re.sub(r"\\sqrt\{(\d)\}", r"\\sqrt\1", gold)
        yield "spaced root", gold.replace("\\sqrt{", " \\sqrt{")
    if "^\\circ" in gold:
        yield "braced circ", gold.replace("^\\circ", "^{\\circ}")
        yield "word degrees", gold.replace("^\\circ", " degrees")
    if ", " in gold:
        yield "tight commas", gold.replace(", ", ",")
    if re.search(r"\^\d(?!\d)", gold):
        yield "braced power", re.sub(r"\^(\d)(?!\d)", r"^{\1}", gold)
    if re.search(r"_\d+$", gold):
        yield "braced base", re.sub(r"_(\d+)$", r"_{\1}", gold)
    if re.fullmatch(r"\\text\{[A-Za-z]+\}", gold):
        yield "unwrapped", gold[6:-1]


def spoiled(gold, rng):
    """The answer with another meaning: one digit changed, or the sign of a number flipped."""
    digits = [at for at, c in enumerate(gold) if c.isdigit()]
    if digits:
        at = rng.choice(digits)
        yield gold[:at] + str((int(gold[at]) + rng.randint(1, 9)) % 10) + gold[at + 1 :]
    if re.match(r"\d|\\frac|\\sqrt", gold) and not re.fullmatch(r"0*", gold) and "," not in gold:
        yield "-" + gold


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    rng = random.Random(0)
    math_rows = [row for name in ("train", "test") for row in read_rows(arguments.raw / "math" / f"{name}.jsonl")]
    golds = sorted({last_boxed(row["solution"]) for row in math_rows})
    plain_numbers = [gold for gold in golds if re.fullmatch(r"-?\d+", gold)]
    others = [gold for gold in golds if gold not in set(plain_numbers)]
    sample = rng.sample(plain_numbers, 60) + others

    equal, different = [], []
    for gold in sample:
        equal += [[gold, text, rule] for rule, text in rewritings(gold) if text != gold]
        different += [[gold, text] for text in spoiled(gold, rng)]
    for name in ("train", "test"):
        for row in read_rows(arguments.raw / "mathqa" / f"{name}.jsonl"):
            options = mathqa_options(row["options"])
            gold = options[row["correct"]]
            for text in options.values():
                same_value = value(text) is not None and value(text) == value(gold)
                if text != gold and not same_value and rng.random() < 0.1:
                    different.append([gold, text])
    # Every rule keeps some pairs, whatever its share.
    by_rule = {}
    for pair in equal:
        by_rule.setdefault(pair[2], []).append(pair)
    per_rule = EQUAL_PAIRS // len(by_rule)
    equal = [pair for pairs in by_rule.values() for pair in rng.sample(pairs, min(per_rule, len(pairs)))]
    different = rng.sample(different, min(DIFFERENT_PAIRS, len(different)))
    lines = ['{"equal": [']
    lines.append(",\n".join(json.dumps(pair) for pair in equal))
    lines.append('],\n"different": [')
    lines.append(",\n".join(json.dumps(pair) for pair in different))
    lines.append("]}")
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(equal)} equal pairs of {len(by_rule)} rules, {len(different)} different pairs")


if __name__ == "__main__":
    main()
