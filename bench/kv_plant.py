#!/usr/bin/env python3
"""Copies a Hugging Face model of the Llama family (F16 safetensors) and makes some channels of its keys large: per key head PAIRS rotated pairs are multiplied by
FACTOR, a power of two, and divided in the queries. The model computes the same; its keys have outliers as those of large models do.

    kv_plant.py IN OUT [PAIRS [FACTOR]]        (defaults 3 and 8; needs numpy; bench/KV.md has what came of it)
"""
import json, os, shutil, struct, sys
import numpy as np

source, target = sys.argv[1:3]
pairs, factor = int((sys.argv[3:4] or ["3"])[0]), float((sys.argv[4:5] or ["8"])[0])
os.makedirs(target)
for name in os.listdir(source):
    if not name.endswith((".safetensors", ".gguf", ".txt", ".md")):
        shutil.copyfile(os.path.join(source, name), os.path.join(target, name))
config = json.load(open(os.path.join(source, "config.json")))
heads = config["num_attention_heads"]
kv_heads = config.get("num_key_value_heads", heads)
width = config.get("head_dim") or config["hidden_size"] // heads
raw = open(os.path.join(source, "model.safetensors"), "rb").read()
length = struct.unpack("<Q", raw[:8])[0]
header, data = json.loads(raw[8:8 + length]), bytearray(raw[8 + length:])
random = np.random.default_rng(1)
for layer in range(config["num_hidden_layers"]):
    scale = np.ones((kv_heads, width // 2), np.float32)
    for head in range(kv_heads):
        scale[head, random.permutation(width // 2)[:pairs]] = factor
    scale = np.concatenate([scale, scale], 1)  # halves of a head are rotated together
    for part, rows in (("k", scale), ("q", 1 / np.repeat(scale, heads // kv_heads, 0))):
        entry = header["model.layers.%d.self_attn.%s_proj.weight" % (layer, part)]
        assert entry["dtype"] == "F16"
        begin, end = entry["data_offsets"]
        weights = np.frombuffer(bytes(data[begin:end]), np.float16).reshape(entry["shape"]).astype(np.float32)
        data[begin:end] = (weights * rows.reshape(-1, 1)).astype(np.float16).tobytes()
with open(os.path.join(target, "model.safetensors"), "wb") as file:
    file.write(raw[:8 + length] + bytes(data))
