#!/usr/bin/env python3
"""Writes data/pretokenizer_ranges.cc, data/text_ranges.cc and data/script_ranges.cc: the classes of code points that tokenizers look at.

The classes are read off the `tokenizers` library itself, so that our tokens equal its tokens whatever Unicode version
the regular-expression library of this system knows. Two sources differ inside that library: its regular expressions
(\\p{L}, \\p{N}, \\s) and its Digits pre-tokeniser (Rust's char::is_numeric, of a newer Unicode).

The first holds what byte-level pre-tokenisers ask (letters, numbers, white space), the second what BERT's and
SentencePiece's relatives ask (control characters, punctuation, marks, word characters).

    python tools/oracle/tokenizer_unicode.py [--out data]
"""
import argparse
import pathlib
import textwrap
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
EVERYTHING = "".join(map(chr, CODE_POINTS))


def matched_by(pattern):
    keep = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    return {ord(c) for piece, _ in keep.pre_tokenize_str(EVERYTHING) for c in piece}


def isolated_by_digits():
    digits = pre_tokenizers.Digits(individual_digits=True)
    return {c for c in CODE_POINTS if len(digits.pre_tokenize_str("a" + chr(c))) == 2}


def ranges(flags):
    runs = []
    for c in sorted(flags):
        if runs and runs[-1][1] == c - 1 and runs[-1][2] == flags[c]:
            runs[-1][1] = c
        else:
            runs.append([c, c, flags[c]])
    return runs


def pieces_beside_letters(pre_tokenizer, count):
    """Code points that, between two letters, make `count` pieces."""
    return {c for c in CODE_POINTS if len(pre_tokenizer.pre_tokenize_str("a" + chr(c) + "b")) == count}


def removed_by(normalizer):
    return {c for c in CODE_POINTS if normalizer.normalize_str("a" + chr(c)) == "a"}


def bert(**steps):
    off = dict(clean_text=False, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    return normalizers.BertNormalizer(**(off | steps))


def bits(members_by_bit):
    flags = {}
    for bit, members in enumerate(members_by_bit):
        for c in members:
            flags[c] = flags.get(c, 0) | 1 << bit
    return flags


def cells_of(flags):
    cells = [f"{{0x{first:X}, 0x{last:X}, {flag}}}," for first, last, flag in ranges(flags)]
    lines, line = [], "   "
    for cell in cells:
        if len(line) + 1 + len(cell) > 110:
            lines.append(line)
            line = "   "
        line += " " + cell
    return "\n".join(lines + [line])


def normalized():
    """Code points that the normal forms change, reorder or compose with others, as the library's (older) Unicode has it."""
    forms = normalizers.NFD(), normalizers.NFKD()
    members = {0x345}  # the one mark of the last class, behind which others are sorted below
    for c in CODE_POINTS:
        if forms[1].normalize_str(chr(c)) != chr(c) or forms[0].normalize_str("\u0345" + chr(c)) != "\u0345" + chr(c):
            members.add(c)
            members.update(map(ord, forms[0].normalize_str(chr(c))))
    return members


PROPERTIES = ["L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "N", "Nd", "Nl", "No", "P", "S", "Sm", "Sc", "So", "Han", "w", "d"]


def property_additions():
    """Property -> ranges of its members that were assigned after Unicode 14, of which this system's PCRE2 may not know."""
    found = {}
    for name in PROPERTIES:
        matches = matched_by(f"\\{name}" if name.islower() else f"\\p{{{name}}}")
        found[name] = ranges({c: 1 for c in matches if unicodedata.category(chr(c)) == "Cn"})
    return found


def lower_additions():
    """(code point, its lower case) as Lowercase has it, where Unicode 14 has another."""
    lower = normalizers.Lowercase()
    pairs = {c: lower.normalize_str(chr(c)) for c in CODE_POINTS}
    return [(c, ord(low)) for c, low in pairs.items() if len(low) == 1 and low != chr(c).lower()]


def scripts():
    """Code point -> number of its script by the UnicodeScripts pre-tokeniser; those without one, such as spaces, are left out."""
    cut = pre_tokenizers.UnicodeScripts()

    def differ(a, b):
        return len(cut.pre_tokenize_str(a + b)) == 2

    some = ["a", "\u03b1"]  # Latin and Greek: what parts from neither has no script
    found, samples = {}, []
    for first, last, _ in ranges({c: len(cut.pre_tokenize_str("a" + chr(c))) * 2 + len(cut.pre_tokenize_str("\u03b1" + chr(c)))
                                  for c in CODE_POINTS}):
        run = [c for c in range(first, last + 1) if not 0xD800 <= c < 0xE000]
        if not any(differ(sample, chr(run[0])) for sample in some):
            continue
        for piece, _ in cut.pre_tokenize_str("".join(map(chr, run))):
            number = next((n for n, sample in enumerate(samples, 1) if not differ(sample, piece[0])), len(samples) + 1)
            if number > len(samples):
                samples.append(piece[0])
            found.update({ord(c): number for c in piece})
    return found


def write(path, about, header, function, flags):
    path.write_text(f"""// Generated by tools/oracle/tokenizer_unicode.py from tokenizers {tokenizers.__version__}: do not edit.
// {about}
#include "{header}"

namespace elrea {{

// clang-format off
static constexpr CharRange kRanges[] = {{
{cells_of(flags)}
}};
// clang-format on

std::span<const CharRange> {function}() {{ return kRanges; }}

}}  // namespace elrea
""")


def write_additions(path):
    assert unicodedata.unidata_version == "14.0.0", "run this with a Python of Unicode 14, such as 3.11"
    properties = []
    for name, runs in property_additions().items():
        classes = "".join(f"\\x{{{a:x}}}" + (f"-\\x{{{b:x}}}" if b > a else "") for a, b, _ in runs)
        lines = textwrap.wrap(classes.replace("\\x", " \\x").replace("- ", "-"), 100) or [""]
        quoted = "\n     ".join(f'R"({"".join(line.split())})"' for line in lines)
        properties.append(f'    {{"{name}",\n     {quoted}}},')
    lower = textwrap.wrap(" ".join(f"{{0x{c:X},0x{low:X}}}," for c, low in lower_additions()), 105)
    path.write_text(f"""// Generated by tools/oracle/tokenizer_unicode.py from tokenizers {tokenizers.__version__}: do not edit.
#include "data/unicode_additions.h"

namespace elrea {{

// clang-format off
static constexpr PropertyAddition kProperties[] = {{
{chr(10).join(properties)}
}};

static constexpr LowerAddition kLower[] = {{
    {(chr(10) + "    ").join(line.replace(",0x", ", 0x") for line in lower)}
}};
// clang-format on

std::span<const PropertyAddition> PropertyAdditions() {{ return kProperties; }}
std::span<const LowerAddition> LowerAdditions() {{ return kLower; }}

}}  // namespace elrea
""")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parents[2] / "data")
    out = parser.parse_args().out
    write(out / "pretokenizer_ranges.cc",
          "Code points that are white space (1), letters (2), numbers (4) or isolated by the Digits pre-tokeniser (8).",
          "data/pretokenizer_chars.h", "CharRanges",
          bits([matched_by(r"\s"), matched_by(r"\p{L}"), matched_by(r"\p{N}"), isolated_by_digits()]))
    write(out / "text_ranges.cc",
          "Code points that BERT removes (1), punctuation (2), accents to BERT (4), accents to StripAccents (8), word (16),\n"
          "// part of a normal form (32).",
          "data/text_classes.h", "TextRanges",
          bits([removed_by(bert(clean_text=True)), pieces_beside_letters(pre_tokenizers.BertPreTokenizer(), 3),
                removed_by(bert(strip_accents=True)), removed_by(normalizers.StripAccents()),
                pieces_beside_letters(pre_tokenizers.Whitespace(), 1), normalized()]))
    write_additions(out / "unicode_additions.cc")
    write(out / "script_ranges.cc", "Scripts as numbers: see text_classes.h.", "data/text_classes.h", "ScriptRanges", scripts())


if __name__ == "__main__":
    main()
