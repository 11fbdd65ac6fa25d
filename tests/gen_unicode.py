#!/usr/bin/env python3
"""Writes runtime/text/lb_unicode_tables.c from Python's unicodedata (run it with a Python of the Unicode version wanted).

    python3 tests/gen_unicode.py > runtime/text/lb_unicode_tables.c

The tables and how they are searched are described in runtime/text/lb_unicode.c.
"""
import unicodedata as u

END = 0x110000
LOW = 0x3100  # classes of code points below are looked up, of others searched for
CLASS = {"C": 0, "L": 1, "M": 2, "N": 3, "P": 4, "S": 5, "Z": 6}


def runs(value):
    """Start of each run of equal values, with the value."""
    out, last = [], None
    for cp in range(END):
        v = value(cp)
        if v != last:
            out.append((cp, v))
            last = v
    return out


def table(ctype, name, rows, width=132):
    rows = [str(r) if r < 256 else f"0x{r:x}" for r in rows]
    print(f"const {ctype} {name}[{len(rows)}] = {{")
    line = "   "
    for r in rows:
        if len(line) + len(r) + 2 > width:
            print(line)
            line = "   "
        line += f" {r},"
    print(line + "\n};")


def token(delta, value, bits):
    """delta << bits | value, seven bits in a byte, the low ones first, all but the last byte with the high bit."""
    n, out = delta << bits | value, []
    while n >= 128:
        out.append(n & 127 | 128)
        n >>= 7
    return out + [n]


def run_table(name, rows, bits, block=16):
    """Blocks of tokens (length of a run, value of the next one), and where each block's first run starts, with its value."""
    starts, data, fill = [], [], block
    for (cp, value), before in zip(rows, [None] + rows):
        t = token(cp - before[0], value, bits) if before else []
        if not t or fill + len(t) > block:
            data += [0] * (block - fill)
            starts.append(cp << 8 | value)
            fill = 0
        else:
            data += t
            fill += len(t)
    data += [0] * (block - fill)
    table("uint32_t", f"lb_unicode_{name}_starts", starts)
    table("uint8_t", f"lb_unicode_{name}_runs", data)


def case_runs():
    """The longest runs in which letters are neither upper nor lower case (0), upper or title (1), lower (2), upper if even and else lower (3), the
    other way round (4); what is no letter fits everywhere. Tokens of length * 5 + kind."""
    kind = {"Lu": 1, "Lt": 1, "Ll": 2, "Lm": 0, "Lo": 0}
    letters = [kind.get(u.category(chr(cp))) for cp in range(END)] + [None]
    fits = [lambda cp: 0, lambda cp: 1, lambda cp: 2, lambda cp: 1 + cp % 2, lambda cp: 2 - cp % 2]
    at, out = 0, []
    while at < len(letters):
        ends = []
        for fit in fits:
            end = at
            while end < len(letters) and letters[end] in (None, fit(end)):
                end += 1
            ends.append(end)
        out += token((max(ends) - at) * 5 + ends.index(max(ends)), 0, 0)
        at = max(ends)
    return out


hangul = range(0xAC00, 0xD7A4)
decomposition = {}
for cp in range(END):
    d = u.decomposition(chr(cp))
    if d and d[0] != "<" and cp not in hangul:
        parts = [int(x, 16) for x in d.split()]
        decomposition[cp] = (parts[0], parts[1] if len(parts) > 1 else 0)
decompositions = sorted(decomposition)
# A pair composes if NFC of its decomposition is the character itself (this leaves out the composition exclusions).
compositions = sorted(
    (decomposition[cp], i) for i, cp in enumerate(decompositions)
    if decomposition[cp][1] and u.normalize("NFC", chr(cp)) == chr(cp))
# The text cannot be cut before these starters: they compose with what stands before them, or decompose into marks.
backward = {b for (_, b), _ in compositions if u.combining(chr(b)) == 0}
backward |= {cp for cp in decompositions
             if u.combining(chr(cp)) == 0 and (u.combining(u.normalize("NFD", chr(cp))[0]) or decomposition[cp][0] in backward)}
backward = sorted(backward)
assert not any(b in decomposition for _, b in decomposition.values())  # lb_unicode.c unfolds only the first part
assert min(decomposition) >= 0xC0 and min(c for c in range(END) if u.combining(chr(c))) >= 0x300
assert max(len(u.normalize("NFD", chr(cp))) for cp in range(END)) <= 4
assert len(decompositions) < 65536

ccc_values = sorted({u.combining(chr(cp)) for cp in range(END)})
assert len(ccc_values) <= 64
first_of = [cp for cp in decompositions if cp - 1 not in decomposition]
index_of = {cp: i for i, cp in enumerate(decompositions)}
seconds = sorted({(second, first >> 16) for first, second in decomposition.values()})
assert len(seconds) <= 256 and len(decompositions) < 4096

print(f"/* Made by tests/gen_unicode.py from Unicode {u.unidata_version}; see lb_unicode.c. Do not edit. */")
print('#include "lb_unicode.h"\n')
classes = [CLASS[u.category(chr(cp))[0]] for cp in range(END)]
blocks = [tuple(classes[cp:cp + 16]) for cp in range(0, LOW, 16)]
distinct = sorted(set(blocks))
assert len(distinct) <= 256
assert all(classes[cp] == CLASS["M"] for cp in range(END) if u.combining(chr(cp)))  # lb_unicode.c asks only for marks
table("uint8_t", "lb_unicode_class_pages", [distinct.index(b) for b in blocks])
table("uint64_t", "lb_unicode_class_blocks", [sum(c << 4 * i for i, c in enumerate(b)) for b in distinct])
run_table("class", [(LOW, classes[LOW])] + [(cp, c) for cp, c in runs(lambda cp: classes[cp]) if cp > LOW], 3)
run_table("ccc", runs(lambda cp: ccc_values.index(u.combining(chr(cp)))), 6)
table("uint8_t", "lb_unicode_ccc_values", ccc_values)
table("uint32_t", "lb_unicode_decomposable", [cp << 12 | index_of[cp] for cp in first_of] + [0xfffff << 12 | len(decompositions)])
table("uint16_t", "lb_unicode_first", [decomposition[cp][0] & 0xffff for cp in decompositions])
table("uint8_t", "lb_unicode_second", [seconds.index((decomposition[cp][1], decomposition[cp][0] >> 16)) for cp in decompositions])
table("uint32_t", "lb_unicode_seconds", [second << 2 | plane for second, plane in seconds])
table("uint16_t", "lb_unicode_compositions", [i for _, i in compositions])
table("uint32_t", "lb_unicode_backward", backward)
table("uint8_t", "lb_unicode_case_runs", case_runs())
