#!/usr/bin/python3
"""Writes tests/data/makers/*.safetensors for test_import_makers.c: one matrix of 32 x 64, packed by the code of those whose checkpoints we read, and as their own decoder gives it.

gen_makers.py CHECKOUTS: a folder that has checkouts (of their newest commit, say) named AQLM, AutoAWQ, GPTQModel, VPTQ, bitsandbytes, compressed-tensors and hqq. Needs torch, 1.13 or
later; of those packages only the functions named here are used, taken out of their files. Decoding is done in float32, with the scales that were stored.
"""
import ast
import enum
import json
import math
import os
import struct
import sys
import types
import typing

import numpy as np
import torch

ROWS, COLS = 32, 64
OUT = "tests/data/makers/"
torch.set_grad_enabled(False)


def take(repo, path, names, given=None, fix=lambda text: text):
    """The named functions and classes of a file, without their decorators; `A.f` is a function of a class, as a plain one."""
    with open(os.path.join(sys.argv[1], repo, path)) as f:
        tree = ast.parse(fix(f.read()))
    g = {"torch": torch, "nn": torch.nn, "np": np, "math": math, "os": os, "Enum": enum.Enum, **vars(typing), **(given or {})}
    found = {}
    for node in tree.body:
        inner = node.body if isinstance(node, ast.ClassDef) else []
        for at, prefix in [(node, "")] + [(n, node.name + ".") for n in inner]:
            if prefix + getattr(at, "name", "") in names:
                at.decorator_list = [d for d in at.decorator_list if isinstance(d, ast.Name) and d.id in ("staticmethod", "classmethod", "property")]
                exec("from __future__ import annotations\n" + ast.unparse(at), g)
                found[at.name] = g[at.name]
    missing = [n for n in names if n.split(".")[-1] not in found]
    assert not missing, "%s/%s has no %s any more" % (repo, path, missing)
    return types.SimpleNamespace(**found)


DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.uint8: "U8", torch.int8: "I8", torch.int16: "I16", torch.int32: "I32", torch.int64: "I64"}


def write(name, config, parts, want):
    """parts: the matrix's tensors by what follows its name"""
    head, data = {"__metadata__": {"quantization_config": json.dumps(config)}}, b""
    want = want.detach().float().reshape(ROWS, COLS)
    for key, t in {**parts, "want": want}.items():
        t = t.detach().contiguous()
        raw = (t.view(torch.int16) if t.dtype == torch.bfloat16 else t).numpy().tobytes()
        head[key] = {"dtype": DTYPES[t.dtype], "shape": list(t.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(OUT + name + ".safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)
    print(name, len(data), "bytes")


def weights():
    return torch.randn(ROWS, COLS)


def hqq():
    kept = take("hqq", "hqq/core/bitpack.py", ["BitPack"], {"uint8": torch.uint8, "int32": torch.int32, "Tensor": torch.Tensor})
    given = {"uint8": torch.uint8, "int32": torch.int32, "float16": torch.float16, "Tensor": torch.Tensor, "BitPack": kept.BitPack,
             "is_divisible": lambda a, b: a % b == 0, "optimize_weights_proximal": None}
    quantizer = take("hqq", "hqq/core/quantize.py", ["Quantizer"], given).Quantizer
    encode = take("hqq", "hqq/core/utils.py", ["encode_safetensor_type"]).encode_safetensor_type
    for name, bits, axis in ("hqq-4", 4, 1), ("hqq-3-across", 3, 0), ("hqq-1", 1, 1):
        how = {"nbits": bits, "channel_wise": True, "group_size": 32, "optimize": False, "round_zero": bits == 4, "axis": axis, "view_as_float": False}
        codes, meta = quantizer.quantize(weights(), device="cpu", compute_dtype=torch.float16, **how)
        codes, meta = quantizer.to_inplace(codes, {**meta, "compute_dtype": torch.float16, "quant_scale": False, "quant_zero": False}, "cpu")
        parts = {"." + k: encode(v) for k, v in {**meta, **how, "stores_quant_config": True, "encoded_state_dict": True, "offload_meta": False}.items()}
        exact = {**meta, "compute_dtype": torch.float32, "scale": meta["scale"].float(), "zero": meta["zero"].float()}
        write(name, {"quant_method": "hqq", "quant_config": {"weight_quant_params": how}, "skip_modules": ["lm_head"]}, {".W_q": codes, **parts},
              quantizer.dequantize(codes, exact))


def vptq():
    def signed(text):  # torch had no unsigned types of 16 bits and more
        for a, b in ((".view(torch.uint16).to(torch.int64)", ".to(torch.int64).bitwise_and(65535)"), (".view(index_dtype).to(torch.uint64).view(torch.int64)", ".to(torch.int64)"),
                     (".view(index_dtype).to(torch.int64)", ".to(torch.int64)"), (".to(torch.uint64).view(torch.int64)", ""), (".view(torch.uint64).to(torch.int64)", ""),
                     (".to(torch.uint32).view(as_dtype)", ".to(torch.int32)"), ("torch.uint16", "torch.int16")):
            text = text.replace(a, b)
        return text
    pack = take("VPTQ", "vptq/utils/pack.py", ["pack_index", "unpack_index_tensor"], fix=signed)
    dequant = take("VPTQ", "vptq/ops/quant_gemm.py", ["dequant"], {"unpack_index_tensor": pack.unpack_index_tensor}, signed).dequant
    for name, width, n, more, outliers, packed in ("vptq-packed", 8, 64, 16, 0, True), ("vptq-outliers", 6, 32, 0, 8, False):
        cols, padding, o_width, o_n = COLS - outliers, -ROWS % width, 4, 16
        def codes(n, *shape):
            return torch.randint(0, n, shape).to(torch.int16)
        def numbers(*shape):
            return torch.randn(*shape).half()
        books, index, order = numbers(1, n * width), codes(n, 1, (ROWS + padding) // width, cols), torch.randperm(COLS)
        parts = {".centroids.weight": books, ".indices": index, ".perm": order.to(torch.int16) if packed else order, ".weight_scale": numbers(COLS), ".weight_bias": numbers(COLS)}
        rest = codes(more, *index.shape) if more else None
        rest_books = numbers(1, more * width) if more else None
        if packed:
            parts[".indices"] = pack.pack_index(index, int(math.log2(n)), rest, int(math.log2(more)), torch.int16)
            parts[".res_centroids.weight"] = rest_books
        if outliers:
            parts[".outlier_indices"], parts[".outlier_centroids.weight"] = codes(o_n, 1, ROWS // o_width, outliers), numbers(1, o_n * o_width)
        def floats(key):
            return parts[key].float() if key in parts else None
        want = dequant(indices=parts[".indices"], centroids=books.float().view(1, n, width), outlier_indices=parts.get(".outlier_indices"),
                       outlier_centroids=floats(".outlier_centroids.weight"), res_indices=rest, res_centroids=floats(".res_centroids.weight"), perm=order,
                       weight_scale=floats(".weight_scale"), weight_bias=floats(".weight_bias"), is_indice_packed=packed, enable_outlier=outliers > 0, enable_residual=more > 0,
                       enable_perm=True, enable_norm=True, num_centroids=n, num_outlier_centroids=o_n, num_res_centroids=more, padding=padding, outlier_padding=0, num_codebooks=1,
                       group_size=cols, outlier_size=outliers, vector_len=width, outlier_vector_len=o_width)
        write(name, {"quant_method": "vptq", "config_for_layers": {}}, parts, want)


def aqlm():
    kept = take("AQLM", "inference_lib/src/aqlm/utils.py", ["get_int_dtype", "pack_int_data", "unpack_int_data", "_dequantize_weight"], {"F": torch.nn.functional})
    for name, bits, books, height, width in ("aqlm", 8, 2, 1, 8), ("aqlm-rectangles", 10, 1, 2, 2):
        codes = torch.randint(0, 2**bits, (ROWS // height, COLS // width, books))
        parts = {".codes": kept.pack_int_data(codes, bits), ".codebooks": torch.randn(books, 2**bits, height, width).half(), ".scales": torch.rand(ROWS // height, 1, 1, 1).half()}
        write(name, {"quant_method": "aqlm", "nbits_per_codebook": bits, "num_codebooks": books, "out_group_size": height, "in_group_size": width}, parts,
              kept._dequantize_weight(kept.unpack_int_data(parts[".codes"], bits), parts[".codebooks"].float(), parts[".scales"].float()))


def awq():
    unpack = take("AutoAWQ", "awq/utils/packing_utils.py", ["unpack_awq", "reverse_awq_order", "dequantize_gemm"], {"AWQ_REVERSE_ORDER": [0, 4, 1, 5, 2, 6, 3, 7]},
                  lambda text: text.replace("dtype=torch.int32,", "dtype=torch.int64,"))  # torch 1.13 takes no index of int32
    for version, path, cls, more in ("gemm", "gemm", "WQLinear_GEMM", []), ("gemv", "gemv", "WQLinear_GEMV", ["make_divisible", "calculate_zeros_width"]), \
            ("gemv_fast", "gemv_fast", "WQLinear_GEMVFast", ["make_divisible", "calculate_zeros_width", "pack_intweight"]):
        path, group = "awq/modules/linear/%s.py" % path, 32
        given = vars(take("AutoAWQ", path, more)) if more else {}
        for key in given:
            given[key].__globals__.update(given)
        kept = getattr(take("AutoAWQ", path, [cls], {**given, "get_best_device": lambda: "cpu", "awq_ext": None, "awq_v2_ext": None}), cls)
        scale, zero, code = torch.rand(ROWS, COLS // group).half().float(), torch.randint(0, 16, (ROWS, COLS // group)).float(), torch.randint(0, 16, (ROWS, COLS)).float()
        layer = torch.nn.Linear(COLS, ROWS, bias=False)
        def wide(t):
            return t.repeat_interleave(group, 1)
        layer.weight.data = wide(scale) * (code - wide(zero))
        turned = (scale.t().contiguous(), zero.t().contiguous()) if version == "gemm" else (scale, zero)
        q = kept.from_linear(layer, 4, group, False, *turned)
        parts = {"." + k: getattr(q, k) for k in ("qweight", "qzeros", "scales")}
        if version == "gemm":
            want = unpack.dequantize_gemm(q.qweight, q.qzeros, q.scales.float(), 4, group).t()
        else:  # only their kernels read these: what was packed, with what is added as it is stored
            want = wide(scale) * code - wide((scale * zero).half().float()) if version == "gemv_fast" else layer.weight.data
        write("awq-" + version, {"quant_method": "awq", "bits": 4, "group_size": group, "zero_point": True, "version": version}, parts, want)


def gptq():
    with open(os.path.join(sys.argv[1], "GPTQModel", "gptqmodel/utils/planar_packing.py")) as f:
        planar = {"__name__": "planar"}
        exec(f.read(), planar)
    path, methods = "gptqmodel/nn_modules/qlinear/__init__.py", ["GPTQQuantLinear._register_gptq_buffers", "GPTQQuantLinear.qzero_format"]
    methods += ["PackableQuantLinear." + f for f in ("_wf_device", "_init_wf_unsqueeze_buffers", "dequantize_weight", "_dequantize_from_codes", "pack_block")]
    class Nothing:
        def __getattr__(self, name):
            return Nothing()
        def __call__(self, *_, **__):
            return Nothing()
        def __enter__(self):
            return self
        def __exit__(self, *_):
            return False
    given = {**planar, "t": torch, "log": Nothing(), "THREADPOOLCTL": Nothing(), "_ConvNd": torch.nn.Conv2d, "env_flag": lambda name: name == "GPTQMODEL_DISABLE_PACK_EXT",
             "transformers": types.SimpleNamespace(pytorch_utils=types.SimpleNamespace(Conv1D=type(None)))}
    given.update(vars(take("GPTQModel", path, ["_torch_shift_factor", "_torch_right_shift", "_torch_left_shift"], given)))
    layer_class = type("Layer", (torch.nn.Module,), vars(take("GPTQModel", path, methods, given)))
    names = ["unpack_cols", "pack_cols", "unpack_rows", "_require_int32_words_for_3bit", "_unpack_cols_3bit", "_pack_cols_3bit", "_unpack_rows_3bit", "_uses_gptq_v1_qzeros",
             "_shift_gptq_qzeros", "_correct_gptq_v1_qzeros", "_revert_gptq_v1_qzeros_correction"]
    convert = take("GPTQModel", "gptqmodel/utils/model.py", ["convert_gptq_v1_to_v2_format_module", "convert_gptq_v2_to_v1_format_module"],
                   {**given, **vars(take("GPTQModel", "gptqmodel/utils/model_dequant.py", names, planar)), "BaseQuantLinear": layer_class})
    for bits, group, form, mixed in (4, 32, "gptq", False), (3, 32, "gptq", True), (8, 16, "gptq_v2", False), (2, 64, "gptq_v2", True), (5, 32, "gptq_p", False):
        q = layer_class()
        q.bits, q.in_features, q.out_features, q.group_size = bits, COLS, ROWS, group
        q.pack_dtype, q.pack_dtype_bits, q.pack_np_dtype, q.pack_np_math_dtype = torch.int32, 32, np.int32, np.uint32
        q.maxq, q.pack_factor, q.planar, q._qzeros_format, q.enable_wf_unsqueeze = 2**bits - 1, 32 // bits, form == "gptq_p", 1, True
        q.dequant_dtype = torch.int16 if bits == 8 else torch.int8
        q._register_gptq_buffers(bias=False)
        groups = COLS // group
        index = torch.arange(COLS) // group
        index = index[torch.randperm(COLS)] if mixed else index
        scale, zero = torch.rand(ROWS, groups).half().float() + 0.25, torch.randint(0, 2**bits, (ROWS, groups)).float()
        scale = scale.half().float()
        layer = torch.nn.Linear(COLS, ROWS, bias=False)
        layer.weight.data = scale[:, index] * (torch.randint(0, 2**bits, (ROWS, COLS)).float() - zero[:, index])
        q.pack_block(layer, scale.clone(), zero.clone(), index.to(torch.int32))
        q.qzeros = q.qzeros.clone()
        if form == "gptq":
            convert.convert_gptq_v2_to_v1_format_module(q, types.SimpleNamespace(bits=bits, pack_dtype=torch.int32))
        parts = {"." + k: getattr(q, k).clone() for k in ("qweight", "qzeros", "scales", "g_idx")}
        parts[".g_idx"] = parts[".g_idx"].to(torch.int32)
        if form == "gptq":
            convert.convert_gptq_v1_to_v2_format_module(q, bits, torch.int32)
        q.scales, q.g_idx = q.scales.float(), q.g_idx.long()
        config = {"bits": bits, "group_size": group, "desc_act": mixed, "sym": False, "quant_method": "gptq", "checkpoint_format": form, "pack_dtype": "int32",
                  "meta": {"quantizer": ["gptqmodel:7.3.4"]}}
        write("%s-%d" % (form, bits), config, parts, q.dequantize_weight().t())


def compressed_tensors():
    pack = take("compressed-tensors", "src/compressed_tensors/compressors/pack_quantized/helpers.py", ["pack_to_int32", "unpack_from_int32"])
    for name, bits, zeros in ("packed-4", 4, True), ("packed-3", 3, True), ("packed-7", 7, False):
        group, half = 16, 2 ** (bits - 1)
        code, scale = torch.randint(-half, half, (ROWS, COLS)).to(torch.int8), torch.rand(ROWS, COLS // group).to(torch.bfloat16)
        zero = torch.randint(-half, half, scale.shape).to(torch.int8)
        parts = {".weight_packed": pack.pack_to_int32(code, bits), ".weight_scale": scale, ".weight_shape": torch.tensor([ROWS, COLS])}
        stored = torch.zeros_like(zero)
        if zeros:
            parts[".weight_zero_point"] = pack.pack_to_int32(zero, bits, packed_dim=0).contiguous()
            stored = pack.unpack_from_int32(parts[".weight_zero_point"], bits, zero.shape, packed_dim=0)
        code = pack.unpack_from_int32(parts[".weight_packed"], bits, code.shape)
        weights = {"num_bits": bits, "type": "int", "strategy": "group", "group_size": group, "symmetric": not zeros}
        write(name, {"quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed", "config_groups": {"group_0": {"weights": weights}}}, parts,
              (code.float() - stored.float().repeat_interleave(group, 1)) * scale.float().repeat_interleave(group, 1))


def bitsandbytes():
    path, given = "bitsandbytes/functional.py", {"Tensor": torch.Tensor, "name2qmap": {}, "json": json, "prod": math.prod}
    given.update(vars(take("bitsandbytes", "bitsandbytes/utils.py", ["pack_dict_to_tensor", "unpack_tensor_to_dict"], given)))
    table = take("bitsandbytes", path, ["create_dynamic_map", "get_4bit_type"], given)
    state_class = take("bitsandbytes", path, ["QuantState"], given).QuantState
    for kind in "nf4", "fp4":
        code, block, small = torch.randint(0, 16, (ROWS * COLS,)), 64, 256
        sizes, dynamic = torch.rand(ROWS * COLS // block) * 3 + 0.1, table.create_dynamic_map()
        offset = sizes.mean()
        largest = (sizes - offset).abs().max().reshape(1)
        bytes_of = ((sizes - offset) / largest).reshape(-1, 1).sub(dynamic).abs().argmin(1).to(torch.uint8)
        values = table.get_4bit_type(kind, device="cpu")
        inner = state_class(absmax=largest, code=dynamic, blocksize=small, dtype=torch.float32)
        state = state_class(absmax=bytes_of, shape=torch.Size((ROWS, COLS)), code=values, blocksize=block, quant_type=kind, dtype=torch.float16, offset=offset, state2=inner)
        packed = (code[0::2] << 4 | code[1::2]).to(torch.uint8).reshape(-1, 1)
        parts = {".weight": packed, **{".weight." + k: v for k, v in state.as_dict(packed=True).items()}}
        decoded = dynamic[bytes_of.long()] * largest + offset
        write("bitsandbytes-" + kind, {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": kind, "bnb_4bit_use_double_quant": True}, parts,
              values[code] * decoded.repeat_interleave(block))


if __name__ == "__main__":
    if len(sys.argv) != 2 or not os.path.isdir(sys.argv[1]):
        sys.exit(__doc__)
    os.makedirs(OUT, exist_ok=True)
    torch.manual_seed(1)
    for make in (hqq, vptq, aqlm, awq, gptq, compressed_tensors, bitsandbytes):
        make()
