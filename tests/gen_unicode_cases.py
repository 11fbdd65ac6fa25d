#!/usr/bin/env python3
"""Writes tests/data/unicode.txt: NFC forms (unicodedata) and pieces of the published pre-tokenizer patterns (the regex module).

    python3 tests/gen_unicode_cases.py > tests/data/unicode.txt

Lines: "nfc TEXT FORM" or "NAME TEXT LENGTH LENGTH ...", texts in hexadecimal, lengths in bytes.
"""
import random
import re as std_re
import unicodedata
import regex

rng = random.Random(1)
WORDS = ["Hello", "'s", "'RE", "'ll", "'\u017f", "I've", " ", "  ", "\t", "\n", "\r\n", "\n\n ", "3", "12345", "\u00b2", "\u0663\u0664", "\u2167", "...",
         "!!", "(", "\u00a0", "\u3000", "\u2028", "\u0085", "e\u0301", "\u0301", "\u4e2d\u6587", "\u9fff", "\ud55c\uae00", "\u1100\u1161\u11a8",
         "\u0935\u093f\u0936\u094d\u0935", "\U0001f680", "\u200d", "\ufe0f", "\u201c", "\u201d", "_", "a_b", "$", "\u20ac", "\uff01", "\uff21",
         "\u043d\u0435\u0449\u043e", "\u10d0", "\u1f7d", "\u212b", "\u0390", "\x00", "\x1c", "\u0f73", "\u0344", "\u09c7\u09be", "\u180e", "'", "''", "=", "\u2460"]
PATTERNS = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "llama3": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}
# The regex module may know a newer Unicode than the tables: leave out what it and unicodedata disagree on.
SPACE = "[\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]"


def known(c):
    major = unicodedata.category(c)[0]
    return (bool(regex.match(r"\p{L}", c)) == (major == "L") and bool(regex.match(r"\p{N}", c)) == (major == "N") and
            bool(regex.match(r"\s", c)) == bool(std_re.match(SPACE, c)) and not 0xD800 <= ord(c) < 0xE000)


def deepseek_ranges():
    """The lists of lb_pretok.c: the test of DeepSeek is of the matcher, not of its lists."""
    source = open("runtime/text/lb_pretok.c").read()
    lists = []
    for name in ("letters", "marks"):
        body = std_re.search(r"pretok_deepseek_%s\[\] = \{(.*?)\};" % name, source, std_re.S).group(1)
        lists.append("".join(f"\\U{int(a, 16):08x}-\\U{int(b, 16):08x}" for a, b in std_re.findall(r"\{ (\w+), (\w+) \}", body)))
    return lists


letters, marks = deepseek_ranges()
DEEPSEEK = [regex.compile(p) for p in ("[\\r\\n]", f"\\s?[{letters}]+", f"\\s?[{marks}]+", r"\s+\Z",
                                       "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+", r"\p{N}+")]


def isolate(pattern, piece):
    at = 0
    for m in pattern.finditer(piece):
        if m.start() > at:
            yield piece[at:m.start()]
        if m.group():
            yield m.group()
        at = m.end()
    if at < len(piece):
        yield piece[at:]


def pieces(name, text):
    if name != "deepseek":
        return regex.findall(PATTERNS[name], text)
    out = [text]
    for p in DEEPSEEK:
        out = [q for piece in out for q in isolate(p, piece)]
    return out


def sample():
    if rng.random() < 0.5:
        return "".join(rng.choice(WORDS) for _ in range(rng.randrange(1, 12)))
    top = rng.choice([0x80, 0x300, 0x3000, 0x10000, 0x110000])
    return "".join(rng.choice(" a\n'") if rng.random() < 0.3 else chr(rng.randrange(top)) for _ in range(rng.randrange(1, 12)))


def clean(text):
    return "".join(c for c in text if known(c))


def hexa(text):
    return text.encode().hex() or "-"


for name in ("gpt2", "llama3", "qwen2", "deepseek"):
    for _ in range(1000):
        text = clean(sample())
        if text:
            got = pieces(name, text)
            assert "".join(got) == text
            print(name, hexa(text), *[len(p.encode()) for p in got])
marked = [chr(c) for c in range(0x110000) if unicodedata.combining(chr(c)) or unicodedata.normalize("NFD", chr(c)) != chr(c)]
for _ in range(2000):
    text = "".join(rng.choice(marked) if rng.random() < 0.6 else rng.choice("aeoA\u1100\u1161\u11a8\u0915\u4e2d ") for _ in range(rng.randrange(1, 9)))
    print("nfc", hexa(text), hexa(unicodedata.normalize("NFC", text)))
