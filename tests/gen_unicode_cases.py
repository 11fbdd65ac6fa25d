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
    "tekken": (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
               r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|"
               r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"),
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}
# The regex module may know a newer Unicode than the tables: leave out what it and unicodedata disagree on.
SPACE = "[\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]"


def known(c):
    major = unicodedata.category(c)[0]
    return (bool(regex.match(r"\p{L}", c)) == (major == "L") and bool(regex.match(r"\p{N}", c)) == (major == "N") and
            bool(regex.match(r"\s", c)) == bool(std_re.match(SPACE, c)) and not 0xD800 <= ord(c) < 0xE000)


# DeepSeek LLM's published lists, in hexadecimal
LETTERS = ("41-5a 61-7a b5-b5 c0-d6 d8-f6 f8-1ba 1bc-1bf 1c4-293 295-2af 370-373 376-377 37b-37d 37f-37f 386-386 388-38a 38c-38c 38e-3a1 "
           "3a3-3f5 3f7-481 48a-52f 531-556 10a0-10c5 13a0-13f5 13f8-13fd 1c90-1cba 1cbd-1cbf 1d00-1d2b 1d6b-1d77 1d79-1d9a 1e00-1f15 "
           "1f18-1f1d 1f20-1f45 1f48-1f4d 1f50-1f57 1f59-1f59 1f5b-1f5b 1f5d-1f5d 1f5f-1f7d 1f80-1fb4 1fb6-1fbc 1fbe-1fbe 1fc2-1fc4 1fc6-1fcc "
           "1fd0-1fd3 1fd6-1fdb 1fe0-1fec 1ff2-1ff4 1ff6-1ffc 2102-2102 2107-2107 210a-2113 2115-2115 2119-211d 2124-2124 2126-2126 2128-2128 "
           "212a-212d 212f-2134 2139-2139 213c-213f 2145-2149 214e-214e 2183-2184 2c00-2c7b 2c7e-2ce4 2ceb-2cee 2cf2-2cf3 a640-a66d a680-a69b "
           "a722-a76f a771-a787 a78b-a78e ab70-abbf fb00-fb06 fb13-fb17 ff21-ff3a ff41-ff5a 10400-1044f 104b0-104d3 104d8-104fb 10c80-10cb2 "
           "10cc0-10cf2 118a0-118df 1e900-1e943")
MARKS = ("21-2f 3a-7e 2018-201f 3000-3002 ff01-ff0f ff1a-ff5e")


def ranges(text):
    return "".join("\\U%08x-\\U%08x" % tuple(int(x, 16) for x in r.split("-")) for r in text.split())


letters, marks = ranges(LETTERS), ranges(MARKS)
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
    if name == "smollm":
        return [q for piece in isolate(regex.compile(r"\p{N}"), text) for q in regex.findall(PATTERNS["gpt2"], piece)]
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
CASES = ["A", "B", "z", "e", "\u00aa", "\u02b0", "\u0301", "\u01c5", "\u0130", "\u017f", "\u0416", "\u0436", "\u05d0", "\ua78b", "\U00010400", "\U00010428", " ", "/", "\n", "1", "'"]
for name in ("smollm", "tekken"):
    for i in range(1500):
        text = clean("".join(rng.choice(CASES) for _ in range(rng.randrange(1, 12))) if i % 2 else sample())
        text = "".join(c for c in text if regex.match(r"\p{%s}" % unicodedata.category(c), c))  # U+0295 has another case today
        if text:
            got = pieces(name, text)
            assert "".join(got) == text
            print(name, hexa(text), *[len(p.encode()) for p in got])
