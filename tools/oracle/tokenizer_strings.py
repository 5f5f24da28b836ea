"""Strings on which tokenizers are compared: real text from data files, and made-up text of every awkward kind."""
import json
import pathlib
import random

SEED = 20260


def fields(value):
    """All strings in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from fields(item)
    elif isinstance(value, list):
        for item in value:
            yield from fields(item)


def from_file(path):
    """The text fields of a .jsonl, .json or .tsv file, the lines of any other; non-empty."""
    path = pathlib.Path(path)
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".jsonl":
        rows = (json.loads(line) for line in text.split("\n") if line.strip())
    elif path.suffix == ".json":
        rows = [json.loads(text)]
    elif path.suffix == ".tsv":
        rows = (line.split("\t") for line in text.split("\n"))
    else:
        rows = text.split("\n")
    for row in rows:
        yield from (field for field in fields(row) if field)


def from_paths(paths):
    for path in map(pathlib.Path, paths):
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in files:
            yield from from_file(file)


FIXED = [
    "", " ", "  ", "\n", "\n\n", "\t", "\r\n", "a", " a", "a ", "  a  ", "\n\n 42", "a\n\n\n b\r\n\r\nc", "x = 1\n\ty = 2\n",
    "Hello, world!", "I'm sure they'll say we've seen it's Bob's dog, you'd THINK'LL 'S 'RE 'Ve don'T", "'\u017f 's", "'",
    "''", "'s", "a's", "1's", "12345 67 8", "3.14159e-10", "1,000,000", "a1b22c333", "\u0663\u0664\u0665", "x²³¹ ½ ⅓ Ⅷ ①",
    "<|im_start|>user\nhi<|im_end|>\n", "<|endoftext|>", "a<|endoftext|>b", "<|im_end", "<|im_start|><|im_end|>",
    "<bos>hi<eos>", "<start_of_turn>user\nhi<end_of_turn>\n<start_of_turn>model\n", "<pad><unk><mask>[multimodal]",
    "<0x0A>", "<0xE2><0x96>", "<unused0><unused99>", "<unused6241", "<table><tr><td>1</td></tr></table>", "</h1 ></h1>",
    "▁", "▁▁ ▁", " ▁ ", "a▁b", ">  </div>", "> </", ">▁</", "…—–‘’“”«»", "café cafe\u0301 naïve ﬁ Å Å", "ß ẞ İ ı ſ K",
    "日本語のテキストです。", "中文字符，标点符号！", "한국어 텍스트", "ไทย ข้อความ", "עברית", "العربية نص", "हिन्दी पाठ", "Ελληνικά",
    "Русский текст", "🙂", "👨‍👩‍👧‍👦", "🇩🇪🇫🇷", "👍🏽", "a🙂b", "e\u0301\u0302\u0303", "\u0301", "\u200b\u200d\ufeff", "\u180e \u180e",
    "\u00a0\u2003\u3000 x", "\x85y", "\u2028\u2029", "\x00", "a\x00b", "\x7f\x1b[0m", "\U0010ffff", "\ue000", "\ufffd",
    "def f(x):\n    return x**2  # square\n\n\nclass A:\n\tpass\n", "int main() { printf(\"%d\\n\", 1<<3); }",
    "SELECT * FROM t WHERE a='b';", "https://example.com/a?b=c&d=%20#e", "{\"a\": [1, 2.5, null]}", "\\boxed{\\frac{1}{2}}",
    "$x^2 + y_1 \\le 10^{-3}$", "a" * 300, " " * 300, "\n" * 70, "\t" * 40, "=" * 200, "ab" * 200, "." * 77, "0" * 130,
    "    \n    \n  x", " \n", "\n ", " \r\n \r\n", "\r", "a\rb", "\v\f", "🙂 " * 30, "的" * 100,
]

BLOCKS = [
    (0x20, 0x7F), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x400), (0x400, 0x530), (0x590, 0x600), (0x600, 0x700),
    (0x900, 0xE00), (0xE00, 0xE80), (0x1100, 0x1200), (0x1E00, 0x2000), (0x2000, 0x2070), (0x20A0, 0x2150),
    (0x2150, 0x2500), (0x2500, 0x2C00), (0x3000, 0x3100), (0x4E00, 0xA000), (0xAC00, 0xD7A4), (0xF900, 0xFB00),
    (0xFB00, 0x10000), (0x10000, 0x11000), (0x11000, 0x12000), (0x16000, 0x17000), (0x1D400, 0x1D800), (0x1E000, 0x1F000),
    (0x1F300, 0x1FB00), (0x20000, 0x2A6E0), (0xE0000, 0xE01F0),
]
PARTS = [" ", "  ", "\n", "\n\n", "\t", "\r\n", "'s", "'LL", "a", "Z", "the", " the", "7", "42", " 1", ".", "...", "<", ">",
         "<|im_end|>", "<eos>", "</td>", "▁", "é", "é", "中", "ф", "🙂", "\u200d", "\u0301", "_", "-", "\u3000", "\u00a0"]


def character(rng, blocks):
    while True:
        code = rng.randrange(*rng.choice(blocks))
        if not 0xD800 <= code < 0xE000:
            return chr(code)


def synthetic(count, seed=SEED):
    """`count` strings: the fixed ones, then equal shares of mixtures, one-block text, random code points, whitespace."""
    rng = random.Random(seed)
    made = list(FIXED)
    while len(made) < count:
        kind, length = len(made) % 4, rng.randrange(1, 40)
        if kind == 0:
            made.append("".join(rng.choice(PARTS) for _ in range(length)))
        elif kind == 1:
            block = [rng.choice(BLOCKS)]
            made.append("".join(" " if rng.random() < 0.15 else character(rng, block) for _ in range(length)))
        elif kind == 2:
            made.append("".join(character(rng, [(0, 0x110000)] + BLOCKS) for _ in range(length)))
        else:
            spaces = " \t\n\r\v\f\x85\xa0\u1680\u2003\u2028\u202f\u3000\u180e\u200b"
            made.append("".join(rng.choice(spaces) if rng.random() < 0.7 else character(rng, BLOCKS[:3]) for _ in range(length)))
    return made[:count]


def invalid_utf8(count, seed=SEED):
    """`count` byte strings, most of them not UTF-8: good text with bytes cut out, put in or flipped."""
    rng = random.Random(seed)
    texts = [text for text in FIXED if text]
    made = [b"\xff", b"a\x80b", b"\xc0\xaf", b"\xe2\x28\xa1", b"\xf0\x9f\x99", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x96"]
    while len(made) < count:
        text = bytearray((rng.choice(texts) + rng.choice(texts))[:60].encode())
        for _ in range(rng.randrange(1, 5)):
            at = rng.randrange(len(text))
            change = rng.randrange(3)
            if change == 0 and len(text) > 1:
                del text[at]
            elif change == 1:
                text.insert(at, rng.randrange(0x80, 0x100))
            else:
                text[at] = rng.randrange(0x100)
        made.append(bytes(text))
    return made[:count]
