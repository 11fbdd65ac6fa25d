#!/usr/bin/env python3
"""Writes the demo model's training data: conversations from a grammar, a tokenizer trained on them, and rows of token ids.

    demo_data.py --out FOLDER [--rows 40000] [--seed 1]       tokenizer.json, train_*.npy, valid_*.npy
    demo_data.py --out FOLDER --phase 2 --tokenizer FILE      the same for a later phase, with the first one's tokenizer
    demo_data.py --heldout FILE                               the evaluation's prompts (bench/demo/heldout.txt)
    demo_data.py --show N                                     N conversations as text
    demo_data.py --overlap N [--phase 6]                      how many of the held-out prompts N conversations for training say

A row is 513 tokens of whole conversations, the last one cut; flags say which tokens the assistant wrote. Evaluation and training share
no number family, no pair of story hero and plot, and no wording that the grammar marks with '!', from phase 5 on not even by chance.
"""
import argparse, json, os, random, re
import numpy as np
import demo_bpe, demo_wordings
from demo_stories import COMMON, NOT_SAID, PLOTS, Story
from demo_talk import FACTS, OUTSIDE, SUM, TALK, counting, fact, memory, noise, outside, repeat, sums, talk, too_hard

TIME, VOCAB = 512, 2048
REQUESTS = ["Tell me a story about {x}.", "A story about {x}, please.", "Can you tell me a story about {x}?", "Tell a story about {x}.", "Write a story about {x}.",
            "I want a story about {x}.", "Do you know a story about {x}?", "story about {x}", "Please tell me something about {x}, as a story.", "Make up a story about {x}.",
            "I would like to hear a story about {x}.", "tell me a short story about {x}", "Write a short story about {x}.", "a tale of {x}", "Tell me a tale about {x}.",
            "Give me a story with {x}.", "tell a tale with {x}", "Once more, a story about {x}.", "How about a story about {x}?", "now a story about {x}",
            "Let me hear a story about {x}.", "Tell me about {x} in a story.", "a story with {x}", "!I wish for a story about {x}.", "!Could I hear a story about {x}?"]
ANY = ["Tell me a story.", "A story, please.", "Can you tell me a story?", "story", "Tell me something.", "I am bored.", "Do you know a story?", "Write a story.", "Make up a story.",
       "tell a story please", "Tell me a short story.", "I want a story.", "Entertain me.", "Yes, a story.", "yes please", "a story", "Give me a story.", "!May I hear a story?"]
ANOTHER = ["Tell me another one.", "Another one, please.", "another story", "One more.", "again", "Tell me a different story.", "more", "Next story.", "!Let me hear the next one."]
NO_STORY = "I have not told you a story yet. Shall I?"


def pick(rng, wordings, unseen=False):
    return rng.choice([x for x in wordings if x.startswith("!") == unseen]).lstrip("!")


def as_typed(rng, text, phase):
    """As people write: without capitals, marks, or care."""
    r = rng.random()
    if r < 0.1 and text[-1] in "?.":
        text = rng.choice(["Please, {}", "Hi, {}", "Hello! {}", "ok, {}", "And {}", "So, {}", "{} please", "{} Please.", "Well, {}"]).format(text if rng.random() < 0.5 else text[0].lower() + text[1:])
    if rng.random() < (0.1 if phase > 1 and text[1:] != text[1:].lower() else 0.35):
        text = text.lower()
    if rng.random() < 0.35 and len(text) > 2:
        text = text.rstrip("?.!")
    if rng.random() < 0.03 and len(text) > 8 and not any(c.isupper() or c.isdigit() for c in text[1:]):
        i = rng.randrange(len(text) - 1)
        text = rng.choice([text[:i] + text[i + 1:], text[:i] + text[i + 1] + text[i] + text[i + 2:], text[:i] + text[i] + text[i:]])
    return text


def request(rng, story, after, unseen=False):
    if not unseen and rng.random() < 0.2:
        return pick(rng, ANOTHER if after and rng.random() < 0.6 else ANY)
    return pick(rng, REQUESTS, unseen).format(x=story.subject())


# What is said how often. The first phase is mostly sums, which take longest to learn; the second mostly what must be looked up in the
# conversation, which the first hardly taught; the third has both in balance.
# The fourth goes on from the third; the fifth says everything in many more words (demo_wordings.py) and asks more about each story;
# the sixth has more sums again, the seventh more of what a story's hero is like and of what the story does not say;
# the eighth has all in balance for the end.
KINDS = "story sum fact outside talk counting hard memory noise nostory repeat".split()
PHASES = {1: (0.45, [26, 36, 16, 8, 5, 8, 4, 5, 2, 1.5, 0]), 2: (0.75, [30, 14, 14, 5, 5, 3, 4, 12, 1, 1.5, 18]),
          3: (0.75, [30, 38, 18, 4, 8, 3, 4, 3, 1, 1, 2]),
          4: (0.85, [36, 16, 20, 5, 9, 2, 5, 4, 1, 2, 3]), 5: (0.85, [30, 12, 34, 7, 12, 2, 6, 4, 1, 2, 2]),
          6: (0.85, [30, 22, 28, 9, 9, 2, 6, 6, 1, 2, 5]), 7: (0.85, [30, 18, 24, 8, 7, 2, 6, 12, 1, 2, 6]),
          8: (0.78, [27, 38, 22, 8, 8, 2, 7, 10, 1, 2, 4])}
STORY_WEIGHT = 30 # percent of what a token of an answer counts, from phase 5 on: what happens in a story nobody can foresee


def plain(text):
    return re.sub(r"[^a-z0-9+*/%={} -]", "", text.lower()).strip()


def held_wordings():
    """What matches a question in words that are kept for the evaluation."""
    kept = [(x, r".+") for q, _ in [q for p in PLOTS.values() for q in p[2]] + COMMON + FACTS + TALK for x in q] + [(x, r".+") for x in NOT_SAID + OUTSIDE]
    kept += [(x, r"[a-z0-9+*/%-]+") for x in SUM]
    return re.compile("|".join(re.sub(r"{\w*}", slot.replace("\\", "\\\\"), re.sub(r"([+*])", r"\\\1", plain(x))) for x, slot in kept if x.startswith("!")))


HELD_WORDINGS = held_wordings()


def as_said(rng, text):
    """The same question in a frame, or with small words left out or put in."""
    r = rng.random()
    if r < 0.12:
        text = rng.choice(demo_wordings.AROUND).format(text if rng.random() < 0.5 else text[0].lower() + text[1:])
    elif r < 0.3:
        words = [x for x in text.split(" ") if x.lower() not in demo_wordings.SMALL or rng.random() < 0.5]
        text = " ".join(words) if len(words) > 1 else text
    elif r < 0.36:
        words = text.split(" ")
        words.insert(rng.randint(1, len(words)), rng.choice(demo_wordings.FILLERS))
        text = " ".join(words)
    return text


def conversation(rng, held=False, phase=1):
    """[(user, assistant, is it a story?)...]; held: only what the evaluation asks."""
    asking, weights = PHASES[phase]
    more = max(0, phase - 4)
    out, story, owed = [], None, []
    for _ in range(rng.choice([1, 1, 2, 3, 4, 5, 6, 8, 10])):
        r = rng.random()
        if owed and r < 0.4:
            new = [owed.pop()]
        elif story and r < asking:
            new = []
            for _ in range(rng.choice([2, 3, 4] if more else [1, 2, 3])):
                new.append(story.ask(more=more) if rng.random() < (0.86 if more >= 3 else 0.9) else story.ask_unknown(more=more))
        else:
            k = rng.choices(KINDS, weights)[0]
            if k == "story":
                story_before, story = story, Story(rng, held)
                new = [(request(rng, story, story_before is not None), story.text)]
            elif k == "nostory":
                other = Story(rng, held)
                new = [(other.ask(more=more)[0], NO_STORY)] if story is None else [story.ask(more=more)]
            elif k == "memory":
                told, asked = memory(rng, more)
                new = [told]
                owed.append(asked)
            else:
                new = {"sum": lambda: [x for _ in range(rng.choice([1, 2, 3])) for x in sums(rng, held, more=more)], "fact": lambda: fact(rng, more=more), "outside": lambda: outside(rng, more=more),
                       "talk": lambda: talk(rng, more=more),
                       "counting": lambda: counting(rng), "hard": lambda: too_hard(rng, more=more), "noise": lambda: noise(rng), "repeat": lambda: repeat(rng)}[k]()
        for q, answer in new:
            while not q.endswith(answer):
                said = as_typed(rng, as_said(rng, q) if more else q, phase)
                if not more or not HELD_WORDINGS.fullmatch(plain(said)):
                    q = said
                    break
            out.append((q, answer, story is not None and answer == story.text))
    return out


def held_out_prompts(rng):
    """[(kind, [earlier exchanges], prompt, the right answer)]; the answer to a story is what its perplexity is measured on."""
    out = []
    for i in range(160):
        (q, answer), = sums(rng, held=True, unseen=i % 2 == 1)
        out.append(("sum" if "+" in answer else "difference", [], q, answer))
    for i in range(240):
        s = Story(rng, held=True)
        q, answer = s.ask(unseen=i % 3 == 2)
        out.append(("question" if i % 3 < 2 else "question-new-words", [(request(rng, s, False), s.text)], q, answer))
    for i in range(40):
        s = Story(rng, held=True)
        q, answer = s.ask_unknown(unseen=i % 2 == 1)
        out.append(("not-in-story", [(request(rng, s, False), s.text)], q, answer))
    for i in range(80):
        s = Story(rng, held=True)
        out.append(("story", [], request(rng, s, False, unseen=i % 2 == 1), s.text))
    facts = {}
    while len(facts) < 45:
        (q, answer), = fact(rng, unseen=True)
        facts[q] = answer
    out += [("fact", [], q, answer) for q, answer in facts.items()]
    for i in range(60):
        (q, answer), = outside(rng, unseen=True)
        out.append(("outside", [], q, answer))
    for i in range(30):
        (q, answer), = too_hard(rng, unseen=True)
        out.append(("too-hard", [], q, answer))
    for i in range(30):
        told, (q, answer) = memory(rng)
        out.append(("memory", [told, (fact(rng) if i % 2 else talk(rng))[0]], q, answer))
    for i in range(20):
        (q, answer), = talk(rng, unseen=True)
        out.append(("talk", [], q, answer))
    return out


def rows_of(rng, encoder, n, held, phase):
    """Rows of 513 ids and their flags."""
    bos, end, user, assistant = (encoder.special[f"<|{x}|>"] for x in ("bos", "end", "user", "assistant"))
    system = encoder.special["<|system|>"]
    rows, flags = np.zeros((n, TIME + 1), np.uint16), np.zeros((n, TIME + 1), np.uint8)
    for i in range(n):
        ids, written = [], []
        while len(ids) < TIME + 1:
            ids.append(bos)
            written.append(0)
            if rng.random() < 0.04:
                text = encoder.encode(rng.choice(["You are a helpful assistant.", "You are a friendly storyteller.", "Answer briefly.", "Be kind."]))
                ids += [system] + text + [end]
                written += [0] * (len(text) + 2)
            begin = len(ids) - 1
            for q, answer, told in conversation(rng, held, phase):
                q, answer = encoder.encode(q), encoder.encode(answer)
                if len(ids) - begin + len(q) + len(answer) + 4 > TIME:
                    break
                ids += [user] + q + [end, assistant] + answer + [end]
                written += [0] * (len(q) + 3) + [STORY_WEIGHT if told and phase >= 5 else 100] * (len(answer) + 1)
        rows[i], flags[i] = ids[:TIME + 1], written[:TIME + 1]
    return rows, flags


def overlap(n, seed, phase):
    """Prints per kind how many of the held-out prompts are said, in any context, in n conversations for training."""
    said, rng = set(), random.Random(seed)
    for _ in range(n):
        said.update(plain(q) for q, _, _ in conversation(rng, phase=phase))
    asked = {}
    for kind, _, q, _ in held_out_prompts(random.Random(1001)):
        asked.setdefault(kind, set()).add(plain(q))
    for kind, prompts in asked.items():
        print(f"{kind:20} {len(prompts & said):3} of {len(prompts):3} different prompts")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out")
    p.add_argument("--rows", type=int, default=40000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--phase", type=int, choices=PHASES, default=1)
    p.add_argument("--tokenizer")
    p.add_argument("--heldout")
    p.add_argument("--show", type=int)
    p.add_argument("--overlap", type=int)
    o = p.parse_args()
    if o.show:
        rng = random.Random(o.seed)
        for _ in range(o.show):
            print("\n".join(f"> {q}\n{answer}" for q, answer, _ in conversation(rng, phase=o.phase)), "\n")
    if o.overlap:
        overlap(o.overlap, o.seed, o.phase)
    if o.heldout:
        with open(o.heldout, "w") as f:
            for kind, before, q, answer in held_out_prompts(random.Random(o.seed + 1000)):
                f.write(f"# {kind}\n" + "".join(f"U {x}\nA {y}\n" for x, y in before) + f"U {q}\nE {answer}\n\n")
    if o.out:
        os.makedirs(o.out, exist_ok=True)
        rng = random.Random(o.seed)
        if o.tokenizer:
            with open(o.tokenizer) as f:
                tok = json.load(f)
        else:
            text = "\n".join(q + "\n" + answer for _ in range(20000) for q, answer, _ in conversation(rng))
            tok = demo_bpe.tokenizer_json(demo_bpe.train(text, VOCAB))
        with open(os.path.join(o.out, "tokenizer.json"), "w") as f:
            json.dump(tok, f, ensure_ascii=False)
        encoder = demo_bpe.Encoder(tok)
        for name, n, held, seed in (("valid", 96, True, o.seed + 1), ("train", o.rows, False, o.seed + 2)):
            rows, flags = rows_of(random.Random(seed), encoder, n, held, o.phase)
            np.save(os.path.join(o.out, name + "_rows.npy"), rows)
            np.save(os.path.join(o.out, name + "_flags.npy"), flags)
            print(f"{name}: {n} rows, {100 * (flags > 0).mean():.0f}% of the tokens are the assistant's; {len(encoder.vocab) + 5} tokens")


if __name__ == "__main__":
    main()
