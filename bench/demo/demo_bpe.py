"""Byte-level BPE in the form of tokenizer.json: training on the demo's own text, and encoding of training data.

Digits stand alone and words take the space before them (the pre-tokenizer that Qwen 2 published), so numbers are written the same way
everywhere. The pattern below is its equivalent for the ASCII text that is trained on.
"""
import collections, heapq, json, re

SPECIAL = ["<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
PUBLISHED = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
PIECES = re.compile(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\nA-Za-z0-9]?[A-Za-z]+|[0-9]| ?[^\sA-Za-z0-9]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def byte_letters():
    """GPT-2's letters for the 256 bytes."""
    plain = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    out, extra = {b: chr(b) for b in plain}, 0
    for b in range(256):
        if b not in out:
            out[b] = chr(256 + extra)
            extra += 1
    return out


LETTERS = byte_letters()


def train(text, vocab):
    """The merges, most frequent pair first (ties: the smaller pair of strings)."""
    counts = collections.Counter(PIECES.findall(text))
    words = [[LETTERS[b] for b in w.encode()] for w in counts]
    often = list(counts.values())
    pairs, where = collections.Counter(), collections.defaultdict(set)
    for i, w in enumerate(words):
        for p in zip(w, w[1:]):
            pairs[p] += often[i]
            where[p].add(i)
    heap = [(-n, p) for p, n in pairs.items()]
    heapq.heapify(heap)
    merges = []
    while heap and len(merges) < vocab - 256 - len(SPECIAL):
        n, best = heapq.heappop(heap)
        if -n != pairs[best]:
            continue
        if pairs[best] < 2:
            break
        merges.append(best)
        changed = set()
        for i in where.pop(best):
            w, out, k = words[i], [], 0
            for p in zip(w, w[1:]):
                pairs[p] -= often[i]
                changed.add(p)
            while k < len(w):
                if k + 1 < len(w) and (w[k], w[k + 1]) == best:
                    out.append(w[k] + w[k + 1])
                    k += 2
                else:
                    out.append(w[k])
                    k += 1
            words[i] = out
            for p in zip(out, out[1:]):
                pairs[p] += often[i]
                where[p].add(i)
                changed.add(p)
        for p in changed:
            if pairs[p] > 0 and p != best:
                heapq.heappush(heap, (-pairs[p], p))
    return merges


def tokenizer_json(merges):
    names = list(LETTERS.values()) + [a + b for a, b in merges]
    special = [{"id": len(names) + i, "content": s, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
                "special": True} for i, s in enumerate(SPECIAL)]
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": PUBLISHED}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}]},
            "post_processor": None, "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": False, "byte_fallback": False, "vocab": {n: i for i, n in enumerate(names)},
                      "merges": [list(m) for m in merges]}}


class Encoder:
    def __init__(self, tok):
        self.vocab = tok["model"]["vocab"]
        self.rank = {tuple(m): i for i, m in enumerate(tok["model"]["merges"])}
        self.special = {t["content"]: t["id"] for t in tok["added_tokens"]}
        self.known = {}

    def piece(self, text):
        w = [LETTERS[b] for b in text.encode()]
        while len(w) > 1:
            rank, i = min((self.rank.get(p, 1 << 30), i) for i, p in enumerate(zip(w, w[1:])))
            if rank == 1 << 30:
                break
            w[i:i + 2] = [w[i] + w[i + 1]]
        return [self.vocab[x] for x in w]

    def encode(self, text):
        out = []
        for p in PIECES.findall(text):
            ids = self.known.get(p)
            if ids is None:
                ids = self.known[p] = self.piece(p)
            out += ids
        return out
