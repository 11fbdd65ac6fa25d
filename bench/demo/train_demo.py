#!/usr/bin/env python3
"""Trains the demo model on the rows that demo_data.py wrote, and exports it as a Hugging Face folder.

One pass over the data in its order, so a run is a function of the data, --steps and --seed (up to the rounding of the matrix library).
The learning rate is constant and falls to zero over the last --decay steps; a run may be stopped and resumed, and --steps changed, before that.
Matrices are trained by momentum orthogonalised with Newton-Schulz steps (Muon, Jordan et al. 2024), embedding and norms by Adam.
Needs PyTorch, numpy and gcc. One thread.
"""
import argparse, ctypes, json, math, os, struct, subprocess, sys, time
import numpy as np
import torch

HERE = os.path.dirname(os.path.abspath(__file__))
BF = torch.bfloat16


class Shape:
    vocab, dim, layers, heads, ffn, time = 2048, 256, 6, 4, 768, 512
    theta, eps = 10000.0, 1e-5
    head_dim = dim // heads


def load_kernels(out):
    lib = os.path.join(out, "libtrain_kernels.so")
    subprocess.check_call(["gcc", "-O3", "-march=native", "-ffast-math", "-shared", "-fPIC",
                           os.path.join(HERE, "train_kernels.c"), "-o", lib, "-lm"])
    k = ctypes.CDLL(lib)
    k.cross_entropy.restype = ctypes.c_double
    return k


K = None


def at(t):
    assert t.is_contiguous()
    return ctypes.c_void_p(t.data_ptr())


def n_(x):
    return ctypes.c_long(x)


def f_(x):
    return ctypes.c_float(x)


class Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        y, r = torch.empty(x.shape, dtype=BF), torch.empty(x.shape[0])
        K.rms_forward(n_(x.shape[0]), n_(x.shape[1]), f_(Shape.eps), at(x), at(w), at(y), at(r))
        ctx.save_for_backward(x, w, r)
        return y

    @staticmethod
    def backward(ctx, dy):
        x, w, r = ctx.saved_tensors
        dx, dw = torch.empty_like(x), torch.zeros_like(w)
        K.rms_backward(n_(x.shape[0]), n_(x.shape[1]), at(x), at(w), at(r), at(dy.contiguous()), at(dx), at(dw))
        return dx, dw


class SwiGlu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, gu):
        n, f = gu.shape[0], gu.shape[1] // 2
        h = torch.empty(n, f, dtype=BF)
        K.swiglu_forward(n_(n), n_(f), at(gu), at(h))
        ctx.save_for_backward(gu)
        return h

    @staticmethod
    def backward(ctx, dh):
        gu, = ctx.saved_tensors
        d = torch.empty_like(gu)
        K.swiglu_backward(n_(gu.shape[0]), n_(gu.shape[1] // 2), at(gu), at(dh.contiguous()), at(d))
        return d


class Attention(torch.autograd.Function):
    """Rows of q, k, v -> rows of attention outputs; parts: (row, begin, end) of each conversation, which sees only itself."""
    @staticmethod
    def forward(ctx, qkv, parts, cosine, sine):
        t, h, hd = Shape.time, Shape.heads, Shape.head_dim
        b = qkv.shape[0] // t
        q, k, v, o = (torch.empty(b, h, t, hd, dtype=BF) for _ in range(4))
        K.rope_split(n_(b), n_(t), n_(h), n_(hd), f_(hd ** -0.5), at(cosine), at(sine), at(qkv), at(q), at(k), at(v))
        ps = []
        for r, i, j in parts:
            p = torch.bmm(q[r, :, i:j], k[r, :, i:j].transpose(1, 2))
            K.softmax_forward(n_(h), n_(j - i), at(p))
            o[r, :, i:j] = torch.bmm(p, v[r, :, i:j])
            ps.append(p)
        ctx.save_for_backward(q, k, v, cosine, sine)
        ctx.parts, ctx.ps = parts, ps
        return o.transpose(1, 2).reshape(b * t, h * hd)

    @staticmethod
    def backward(ctx, do):
        q, k, v, cosine, sine = ctx.saved_tensors
        b, h, t, hd = q.shape
        do = do.view(b, t, h, hd).transpose(1, 2).contiguous()
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        for (r, i, j), p in zip(ctx.parts, ctx.ps):
            g = do[r, :, i:j]
            dv[r, :, i:j] = torch.bmm(p.transpose(1, 2), g)
            dp = torch.bmm(g, v[r, :, i:j].transpose(1, 2))
            K.softmax_backward(n_(h), n_(j - i), at(p), at(dp))
            dq[r, :, i:j] = torch.bmm(dp, k[r, :, i:j])
            dk[r, :, i:j] = torch.bmm(dp.transpose(1, 2), q[r, :, i:j])
        d = torch.empty(b * t, 3 * h * hd, dtype=BF)
        K.rope_merge(n_(b), n_(t), n_(h), n_(hd), f_(hd ** -0.5), at(cosine), at(sine), at(dq), at(dk), at(dv), at(d))
        return d, None, None, None


class Loss(torch.autograd.Function):
    """Sum of weight * -log p(target); its gradient replaces the logits at once."""
    @staticmethod
    def forward(ctx, logits, target, weight):
        loss = K.cross_entropy(n_(logits.shape[0]), n_(logits.shape[1]), at(logits), at(target), at(weight))
        ctx.save_for_backward(logits)
        return torch.tensor(loss)

    @staticmethod
    def backward(ctx, g):
        d, = ctx.saved_tensors
        return d, None, None


def make_weights(seed):
    g = torch.Generator().manual_seed(seed)
    s, w = Shape, {}

    def matrix(rows, cols, scale):
        return torch.randn(rows, cols, generator=g) * scale

    w["embed"] = matrix(s.vocab, s.dim, 0.02)
    for l in range(s.layers):
        w[f"{l}.norm1"] = torch.ones(s.dim)
        w[f"{l}.qkv"] = matrix(3 * s.dim, s.dim, 0.6 * s.dim ** -0.5)
        w[f"{l}.o"] = matrix(s.dim, s.dim, 0.6 * s.dim ** -0.5 / math.sqrt(2 * s.layers))
        w[f"{l}.norm2"] = torch.ones(s.dim)
        w[f"{l}.gu"] = matrix(2 * s.ffn, s.dim, 0.6 * s.dim ** -0.5)
        w[f"{l}.down"] = matrix(s.dim, s.ffn, 0.6 * s.ffn ** -0.5 / math.sqrt(2 * s.layers))
    w["norm"] = torch.ones(s.dim)
    return {k: t.requires_grad_() for k, t in w.items()}


def read_weights(path, w):
    """Fills w from what demo-unpack wrote of a packed model."""
    names = {"tok_embed": "embed", "out_norm": "norm"}
    pieces = {}
    with open(path, "rb") as f:
        for line in iter(f.readline, b""):
            name, rows, cols = line.decode().split()
            data = np.frombuffer(f.read(4 * int(rows) * int(cols)), np.float32).reshape(int(rows), int(cols))
            pieces[names.get(name, name)] = torch.from_numpy(data.copy())
    for l in range(Shape.layers):
        p = {k: pieces[f"layers.{l}.{k}"] for k in "attn_norm attn_q attn_k attn_v attn_o ffn_norm ffn_gate ffn_up ffn_down".split()}
        pieces.update({f"{l}.norm1": p["attn_norm"], f"{l}.qkv": torch.cat([p["attn_q"], p["attn_k"], p["attn_v"]]), f"{l}.o": p["attn_o"],
                       f"{l}.norm2": p["ffn_norm"], f"{l}.gu": torch.cat([p["ffn_gate"], p["ffn_up"]]), f"{l}.down": p["ffn_down"]})
    with torch.no_grad():
        for k in w:
            w[k].copy_(pieces[k].view(w[k].shape))


def rotations():
    t = torch.arange(Shape.time).float()[:, None]
    f = Shape.theta ** (-torch.arange(0, Shape.head_dim, 2).float() / Shape.head_dim)[None]
    return torch.cos(t * f).contiguous(), torch.sin(t * f).contiguous()


def forward(w, tokens, parts, rot, keep):
    """Logits (bfloat16) at the positions `keep` of a batch [b][t]."""
    m = lambda x, name: x @ w[name].to(BF).t()
    x = w["embed"][tokens.view(-1).long()]
    for l in range(Shape.layers):
        h = Norm.apply(x, w[f"{l}.norm1"])
        x = x + m(Attention.apply(m(h, f"{l}.qkv"), parts, *rot), f"{l}.o")
        h = Norm.apply(x, w[f"{l}.norm2"])
        x = x + m(SwiGlu.apply(m(h, f"{l}.gu")), f"{l}.down")
    return m(Norm.apply(x.index_select(0, keep), w["norm"]), "embed")


def batch_of(rows, flags, bos, user_weight):
    rows = torch.from_numpy(rows.astype(np.int32))
    tokens, target = rows[:, :-1].contiguous(), rows[:, 1:].contiguous()
    weight = torch.from_numpy(flags[:, 1:].astype(np.float32) / 100).clamp(min=user_weight)
    weight[target == bos] = 0
    parts = []
    for r in range(len(tokens)):
        begins = [0] + [i for i in (tokens[r] == bos).nonzero().view(-1).tolist() if i] + [Shape.time]
        parts += [(r, i, j) for i, j in zip(begins, begins[1:])]
    target, weight = target.view(-1), weight.reshape(-1)
    keep = weight.nonzero().view(-1)
    return tokens, target[keep].contiguous(), weight[keep].contiguous(), parts, keep


def orthogonal(g):
    """The nearest (semi-)orthogonal matrix, roughly: four Newton-Schulz steps with Muon's coefficients."""
    x = (g / (g.norm() + 1e-7)).to(BF)
    tall = x.shape[0] > x.shape[1]
    x = x.t().contiguous() if tall else x
    for _ in range(4):
        a = x @ x.t()
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return (x.t() if tall else x).float()


class Optimiser:
    def __init__(self, w, lr, adam_lr, decay):
        self.lr, self.adam_lr, self.decay = lr, adam_lr, decay
        self.m = {k: torch.zeros_like(t) for k, t in w.items()}
        self.v = {k: torch.zeros_like(t) for k, t in w.items() if not self.is_matrix(k, t)}

    @staticmethod
    def is_matrix(name, t):
        return t.dim() == 2 and name != "embed"

    @torch.no_grad()
    def step(self, w, n, rate):
        for k, t in w.items():
            g, m = t.grad, self.m[k]
            if self.is_matrix(k, t):
                mu = min(0.95, 0.85 + 0.1 * n / 200)
                m.mul_(mu).add_(g)
                u = g + mu * m
                parts = 3 if k.endswith("qkv") else 2 if k.endswith("gu") else 1
                t.mul_(1 - self.decay * self.lr * rate)
                for tp, up in zip(t.chunk(parts), u.chunk(parts)):
                    tp.sub_(orthogonal(up), alpha=self.lr * rate * max(1, tp.shape[0] / tp.shape[1]) ** 0.5)
            else:
                v = self.v[k]
                m.mul_(0.9).add_(g, alpha=0.1)
                v.mul_(0.97).addcmul_(g, g, value=0.03)
                t.sub_((m / (1 - 0.9 ** n)) / ((v / (1 - 0.97 ** n)).sqrt() + 1e-10) * (self.adam_lr * rate))
            t.grad = None


# ---- the result as a Hugging Face folder

def hf_tensors(w):
    d, out = Shape.dim, {"model.embed_tokens.weight": w["embed"], "model.norm.weight": w["norm"]}
    for l in range(Shape.layers):
        p = f"model.layers.{l}."
        out[p + "input_layernorm.weight"] = w[f"{l}.norm1"]
        for i, name in enumerate("qkv"):
            out[p + f"self_attn.{name}_proj.weight"] = w[f"{l}.qkv"][i * d:(i + 1) * d]
        out[p + "self_attn.o_proj.weight"] = w[f"{l}.o"]
        out[p + "post_attention_layernorm.weight"] = w[f"{l}.norm2"]
        out[p + "mlp.gate_proj.weight"], out[p + "mlp.up_proj.weight"] = w[f"{l}.gu"].chunk(2)
        out[p + "mlp.down_proj.weight"] = w[f"{l}.down"]
    return {k: t.detach().float().contiguous().numpy() for k, t in out.items()}


def write_safetensors(path, tensors):
    head, at_ = {}, 0
    for k, t in tensors.items():
        head[k] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [at_, at_ + t.nbytes]}
        at_ += t.nbytes
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            f.write(t.tobytes())


def export(w, folder, tokenizer):
    os.makedirs(folder, exist_ok=True)
    tok = json.load(open(tokenizer))
    ids = {t["content"]: t["id"] for t in tok["added_tokens"]}
    s = Shape
    json.dump({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "vocab_size": s.vocab,
               "hidden_size": s.dim, "intermediate_size": s.ffn, "num_hidden_layers": s.layers, "num_attention_heads": s.heads,
               "num_key_value_heads": s.heads, "max_position_embeddings": s.time, "rms_norm_eps": s.eps, "rope_theta": s.theta,
               "tie_word_embeddings": True, "bos_token_id": ids["<|bos|>"], "eos_token_id": ids["<|end|>"]},
              open(os.path.join(folder, "config.json"), "w"), indent=1)
    template = ("{{ bos_token }}{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] | trim + '<|end|>' }}{% endfor %}"
                "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}")
    json.dump({"bos_token": "<|bos|>", "eos_token": "<|end|>", "add_bos_token": True, "add_eos_token": False, "chat_template": template},
              open(os.path.join(folder, "tokenizer_config.json"), "w"), indent=1)
    json.dump(tok, open(os.path.join(folder, "tokenizer.json"), "w"), ensure_ascii=False)
    write_safetensors(os.path.join(folder, "model.safetensors"), hf_tensors(w))


def main():
    global K
    a = argparse.ArgumentParser(description=__doc__)
    a.add_argument("--data", required=True, help="folder that demo_data.py wrote")
    a.add_argument("--then", metavar="FOLDER", help="data for the steps after --switch")
    a.add_argument("--switch", type=int, default=1 << 30, help="how many steps --data is used for, if there is --then")
    a.add_argument("--out", required=True, help="folder for checkpoints, the curve and the exported model")
    a.add_argument("--steps", type=int, required=True)
    a.add_argument("--decay", type=int, default=None, help="steps of falling learning rate at the end (default: 40%% of all)")
    a.add_argument("--until", type=int, help="stop after this step; the next run goes on from there")
    a.add_argument("--batch", type=int, default=16, help="rows of 512 tokens in a step")
    a.add_argument("--lr", type=float, default=0.02)
    a.add_argument("--adam-lr", type=float, default=0.004)
    a.add_argument("--weight-decay", type=float, default=0.05)
    a.add_argument("--user-weight", type=float, default=0.1, help="what a token of the user's side counts in the loss")
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--init", metavar="FILE", help="begin with these weights (of demo-unpack), not with random ones")
    a.add_argument("--export", metavar="FOLDER", help="only write the checkpoint in --out as a Hugging Face folder")
    o = a.parse_args()
    torch.set_num_threads(1)
    os.makedirs(o.out, exist_ok=True)
    K = load_kernels(o.out)
    w = make_weights(o.seed)
    if o.init:
        read_weights(o.init, w)
    opt = Optimiser(w, o.lr, o.adam_lr, o.weight_decay)
    point, done, seconds, seen = os.path.join(o.out, "checkpoint.pt"), 0, 0.0, 0
    if os.path.exists(point):
        c = torch.load(point)
        with torch.no_grad():
            for k in w:
                w[k].copy_(c["w"][k])
        opt.m, opt.v, done, seconds, seen = c["m"], c["v"], c["done"], c["seconds"], c["seen"]
    tokenizer = os.path.join(o.data, "tokenizer.json")
    if o.export:
        export(w, o.export, tokenizer)
        return
    bos = {t["content"]: t["id"] for t in json.load(open(tokenizer))["added_tokens"]}["<|bos|>"]
    rows, flags = (np.load(os.path.join(o.data, f"train_{n}.npy"), mmap_mode="r") for n in ("rows", "flags"))
    vrows, vflags = (np.load(os.path.join(o.data, f"valid_{n}.npy")) for n in ("rows", "flags"))
    rows2, flags2 = (np.load(os.path.join(o.then, f"train_{n}.npy"), mmap_mode="r") for n in ("rows", "flags")) if o.then else (rows[:0], flags[:0])
    need, need2 = min(o.steps, o.switch) * o.batch, max(0, o.steps - o.switch) * o.batch
    if len(rows) < need or len(rows2) < need2:
        sys.exit(f"{o.steps} steps need {need} and {need2} rows, the data have {len(rows)} and {len(rows2)}")
    decay = o.decay if o.decay is not None else o.steps * 2 // 5
    rot = rotations()
    curve = open(os.path.join(o.out, "curve.csv"), "a")
    if done == 0:
        curve.write("step,tokens,train_loss,valid_loss,seconds\n")

    def save():
        torch.save({"w": {k: t.detach() for k, t in w.items()}, "m": opt.m, "v": opt.v, "done": done, "seconds": seconds,
                    "seen": seen}, point + ".tmp")
        os.replace(point + ".tmp", point)

    def valid():
        total = count = 0.0
        with torch.no_grad():
            for i in range(0, len(vrows), o.batch):
                tokens, target, weight, parts, keep = batch_of(vrows[i:i + o.batch], vflags[i:i + o.batch] // 100 * 100, bos, 0.0)
                logits = forward(w, tokens, parts, rot, keep)
                total += K.cross_entropy(n_(logits.shape[0]), n_(logits.shape[1]), at(logits), at(target), at(weight))
                count += float(weight.sum())
        return total / count

    smooth, saved = None, time.time()
    until = min(o.until or o.steps, o.steps)
    while done < until:
        t0 = time.time()
        first = done < o.switch
        i = (done if first else done - o.switch) * o.batch
        tokens, target, weight, parts, keep = batch_of((rows if first else rows2)[i:i + o.batch], (flags if first else flags2)[i:i + o.batch], bos, o.user_weight)
        weight /= weight.sum()
        loss = Loss.apply(forward(w, tokens, parts, rot, keep), target, weight)
        loss.backward()
        done += 1
        seen += tokens.numel()
        opt.step(w, done, min(1.0, done / 30, (o.steps - done + 1) / decay))
        smooth = loss.item() if smooth is None else 0.95 * smooth + 0.05 * loss.item()
        seconds += time.time() - t0
        if done % 50 == 0 or done == until:
            v = valid() if done % 200 == 0 or done == until else None
            curve.write(f"{done},{seen},{smooth:.4f},{'' if v is None else f'{v:.4f}'},{seconds:.0f}\n")
            curve.flush()
            print(f"{time.strftime('%H:%M:%S')} step {done} loss {smooth:.4f} valid {v} {seen / seconds:.0f} tokens/s", flush=True)
        if time.time() - saved > 180 or done == until:
            save()
            saved = time.time()
    export(w, os.path.join(o.out, "hf"), tokenizer)


if __name__ == "__main__":
    main()
