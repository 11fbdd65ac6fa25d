#!/usr/bin/env python3
"""Quality against size and speed, of all formats.

    pareto.py quality BUILD MODEL CALIB TEST WORK [plain|calibrated|budget]...
                                                    converts MODEL to every format, without and with calibration, and to budgets;
                                                    measures KL against f16 on TEST; adds what is missing to pareto.json
    pareto.py draw [PEERS.json]                     draws pareto.svg from pareto.json; keeps the peers' points in it

Plain python, no packages. Tokens per second are entered from PEERS.md, where they come from: decoding with one thread, random weights at
tinyllama-1.1b's shape, lbrt and peers in the same runs. MODEL's embedding and head are q8 everywhere, and bits are those of the layers alone, as for the peers.
"""
import json
import math
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
FILE = os.path.join(HERE, "pareto.json")
# formats that a budget cannot name; budgets are bits per weight of the layers
PLAIN = ["q8", "int8", "q6", "q5", "q4", "q3", "q2", "tcq4", "tcq3", "tcq2", "lut4", "lut1", "s24q8", "s24q4"]
CALIBRATED = ["lut4", "tcq2", "tcq3", "tcq4", "s24q8", "s24q4", "q3", "q2", "q4", "q5", "q6", "q8", "lut1"]
BUDGETS = [2.0625, 2.1786, 2.2143, 2.375, 2.625, 3.1786, 3.4375, 4.25, 4.3036, 4.5, 5.0, 2.75, 3.0, 3.75]
TOKENS = "32768"


def load():
    if os.path.exists(FILE):
        with open(FILE) as f:
            return json.load(f)
    return {"quality": [], "speed": [], "peers": []}


def save(data):
    with open(FILE + ".new", "w") as f:
        f.write("{\n" + ",\n".join(' "%s": [\n  %s\n ]' % (key, ",\n  ".join(json.dumps(row) for row in rows)) for key, rows in data.items()) + "\n}\n")
    os.rename(FILE + ".new", FILE)


def run(*words):
    return subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout


def layers(build, path):
    """weights and bytes of the layers, weights and bytes of all"""
    own, bits, weights, size = 0, 0, 0, 0
    for t in json.loads(run(build + "/lbrt-info", "--json", path))["tensors"]:
        n = math.prod(t["shape"])
        weights += n
        size += t["bytes"]
        if t["name"].startswith("layers.") and t["shape"][0] > 1 and len(t["shape"]) == 2:
            own += n
            bits += t["bytes"]
    return own, bits, weights, size


def quality(build, model, calib, test, work, kinds):
    base, out = work + "/f16.lbrt", "%s/now%d.lbrt" % (work, os.getpid())
    if not os.path.exists(base):
        run(build + "/lbrt-convert", "-q", "--format", "f16", model, base)
    run(build + "/lbrt-convert", "-q", "--format", "tcq2", "--tensor", "tok_embed=q8", model, out)
    own, own_bytes, weights, size = layers(build, out)
    jobs = [("plain", f) for f in PLAIN] + [("calibrated", f) for f in CALIBRATED] + [("budget", b) for b in BUDGETS]
    for kind, what in jobs:
        if (kinds and kind not in kinds) or any(q["kind"] == kind and q["what"] == what for q in load()["quality"]):
            continue
        words = [build + "/lbrt-convert", "--json", "--tensor", "tok_embed=q8"]
        if kind == "budget":
            words += ["--budget", "%.5fbpw" % (((size - own_bytes) * 8 + what * own) / weights + 1e-5)]
        else:
            words += ["--format", what]
        if kind != "plain":
            words += ["--calib", calib, "--calib-tokens", TOKENS]
        report = json.loads(run(*words, model, out))
        n, b, _, _ = layers(build, out)
        e = json.loads(run(build + "/lbrt-eval", "--text", test, "--base", base, "--ctx", "512", "--json", out))
        row = {"kind": kind, "what": what, "bits": round(8 * b / n, 4), "kl": e["kl_mean"], "kl_p99": e["kl_p99"],
               "top1": e["top1"], "perplexity": e["perplexity"]}
        if kind == "budget":
            row["expected"] = report["calibration"]["kl_predicted"]
        data = load()
        data["quality"].append(row)
        save(data)
        print(row, flush=True)


# ---- the picture ----

WIDTH, HEIGHT, LEFT, TOP = 520, 430, 60, 40
PEER, PLAIN_COLOUR, CALIBRATED_COLOUR, BUDGET_COLOUR = "#c0392b", "#7f8c8d", "#1f5fbf", "#138a4b"


class Panel:
    """One diagram: x from .. to (logarithmic if `log`), KL logarithmic"""

    def __init__(self, at, title, x_name, x_from, x_to, ticks, log=False):
        self.at, self.x_from, self.x_to, self.log, self.out = at, x_from, x_to, log, []
        self.out.append('<rect x="%d" y="%d" width="%d" height="%d" fill="none" stroke="#888"/>' % (at + LEFT, TOP, WIDTH - LEFT - 20, HEIGHT - TOP - 60))
        self.text(at + LEFT, TOP - 14, title, 13, "#000")
        self.text(at + (WIDTH + LEFT) / 2, HEIGHT - 14, x_name, 11, "#000", "middle")
        for t in ticks:
            x = self.x(t)
            self.line([(x, TOP), (x, HEIGHT - 60)], "#eee")
            self.text(x, HEIGHT - 44, "%g" % t, 10, "#444", "middle")
        for e in (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3):
            y = self.y(e)
            self.line([(at + LEFT, y), (at + WIDTH - 20, y)], "#eee")
            self.text(at + LEFT - 6, y + 3, "%g" % e, 10, "#444", "end")

    def x(self, v):
        part = math.log(v / self.x_from) / math.log(self.x_to / self.x_from) if self.log else (v - self.x_from) / (self.x_to - self.x_from)
        return self.at + LEFT + part * (WIDTH - LEFT - 20)

    def y(self, kl):
        return HEIGHT - 60 - math.log(kl / 0.0002) / math.log(0.4 / 0.0002) * (HEIGHT - TOP - 60)

    def text(self, x, y, words, size, colour, anchor="start"):
        self.out.append('<text x="%.1f" y="%.1f" font-size="%d" fill="%s" text-anchor="%s">%s</text>' % (x, y, size, colour, anchor, words))

    def line(self, points, colour, width=1):
        self.out.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="%d"/>' % (" ".join("%.1f,%.1f" % p for p in points), colour, width))

    def points(self, rows, colour, joined=False, fill=True):
        """rows: (x, KL, label)"""
        rows = sorted(r for r in rows if self.x_from <= r[0] <= self.x_to and 0.0002 <= r[1] <= 0.4)
        if joined:
            self.line([(self.x(a), self.y(b)) for a, b, _ in rows], colour, 2)
        for a, b, label in rows:
            self.out.append('<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s" stroke="%s"/>' % (self.x(a), self.y(b), colour if fill else "#fff", colour))
            self.text(self.x(a) + 6, self.y(b) - 4, label, 9, colour)


def draw(peers_path):
    data = load()
    if peers_path:
        with open(peers_path) as f:
            data["peers"] = [{"type": r["type"], "bits": r["bpw_layers"], "kl": r["kld"]} for r in json.load(f)["rows"]]
        save(data)
    by = {kind: {q["what"]: q for q in data["quality"] if q["kind"] == kind} for kind in ("plain", "calibrated", "budget")}
    a = Panel(0, "Loss against size: the lab model", "bits per weight of the layers", 1.8, 8.6, range(2, 9))
    a.points([(p["bits"], p["kl"], p["type"]) for p in data["peers"]], PEER)
    a.points([(q["bits"], q["kl"], f) for f, q in by["plain"].items()], PLAIN_COLOUR, fill=False)
    a.points([(q["bits"], q["kl"], f) for f, q in by["calibrated"].items()], CALIBRATED_COLOUR)
    a.points([(q["bits"], q["kl"], "") for q in by["budget"].values()], BUDGET_COLOUR, joined=True)
    speeds = {s.get("format") or s["peer"]: s["tps"] for s in data["speed"]}
    b = Panel(WIDTH, "Loss against speed: one thread, tinyllama-1.1b's shape", "tokens per second", min(speeds.values()) * 0.8,
              max(speeds.values()) * 1.3, (10, 20, 30, 50, 70, 100), log=True)
    b.points([(speeds[p["type"]], p["kl"], p["type"]) for p in data["peers"] if p["type"] in speeds], PEER)
    b.points([(speeds[f], q["kl"], f) for f, q in by["plain"].items() if f in speeds], PLAIN_COLOUR, fill=False)
    b.points([(speeds[f], q["kl"], f) for f, q in by["calibrated"].items() if f in speeds], CALIBRATED_COLOUR)
    panels = [a, b]
    for i, (colour, words) in enumerate(((PEER, "llama.cpp, ik_llama.cpp, with importance matrix"), (PLAIN_COLOUR, "lbrt, no calibration text"),
                                         (CALIBRATED_COLOUR, "lbrt, calibrated"), (BUDGET_COLOUR, "lbrt, --budget"))):
        a.out.append('<rect x="%d" y="%d" width="10" height="10" fill="%s"/>' % (WIDTH - 275, TOP + 12 + 16 * i, colour))
        a.text(WIDTH - 260, TOP + 21 + 16 * i, words, 10, "#000")
    a.text(16, HEIGHT / 2, "KL", 11, "#000")
    with open(os.path.join(HERE, "pareto.svg"), "w") as f:
        f.write('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif">\n<rect width="100%%" height="100%%" fill="#fff"/>\n' %
                (WIDTH * len(panels), HEIGHT))
        f.write("\n".join("\n".join(p.out) for p in panels) + "\n</svg>\n")
    print("bits   lbrt KL   best peer of that size or less")
    for q in sorted(list(by["budget"].values()) + list(by["calibrated"].values()), key=lambda q: q["bits"]):
        rivals = [p for p in data["peers"] if p["bits"] <= q["bits"] + 0.01]
        larger = min((p for p in data["peers"] if p["bits"] >= q["bits"] - 0.01), key=lambda p: p["bits"], default=None)
        best = min(rivals, key=lambda p: p["kl"], default=None)
        print("%5.3f %-7s %.5f   %s   next larger: %s" % (q["bits"], q["what"], q["kl"], best and "%s %.5f" % (best["type"], best["kl"]),
                                                         larger and "%s %.3f %.5f %s" % (larger["type"], larger["bits"], larger["kl"], "below" if q["kl"] < larger["kl"] else "NOT below")))


if __name__ == "__main__":
    if len(sys.argv) >= 7 and sys.argv[1] == "quality":
        quality(*sys.argv[2:7], sys.argv[7:])
    elif len(sys.argv) in (2, 3) and sys.argv[1] == "draw":
        draw(sys.argv[2] if len(sys.argv) == 3 else None)
    else:
        sys.exit(__doc__)
