#!/usr/bin/python3
"""Writes tests/data/int8_vectors.inc: LLM.int8() (arXiv 2208.07339) in numpy, one token at a time, for test_int8.c."""
import numpy as np

K, ROWS, N, ALPHA = 320, 40, 9, 6.0
i = np.arange(ROWS * K)
w = (((i * 7919 % 1009) - 504) / 4096.0).astype(np.float32).reshape(ROWS, K)
i = np.arange(N * K)
x = (((i * 6101 % 997) - 498).astype(np.float32) / np.float32(100.0)).reshape(N, K)
for t in range(1, N):
    x[t, 17 * t] = 6.0
    x[t, 300] = -20.0 * t

w, x = w.astype(np.float64), x.astype(np.float64)
cw = np.abs(w).max(axis=1)
wq = np.rint(w * (127.0 / cw[:, None]))
rows = []
for token in x:
    far = np.abs(token) >= ALPHA
    rest = np.where(far, 0.0, token)
    cx = np.abs(rest).max()
    xq = np.rint(rest * (127.0 / cx))
    rows.append((wq @ xq) * (cx * cw / (127.0 * 127.0)) + (wq[:, far] * (cw / 127.0)[:, None]) @ token[far])
with open("tests/data/int8_vectors.inc", "w") as f:
    for y in rows:
        f.write("{ " + ", ".join("%.9g" % v for v in y) + " },\n")
