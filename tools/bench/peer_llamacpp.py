#!/usr/bin/env python3
"""Measures llama.cpp for comparison: the loop of its llama-bench, through the low-level Python binding.

usage: peer_llamacpp.py bench MODEL.gguf [--threads N] [--prompt N] [--decode N] [--batch 4,16] [--repeats N]
                       [--rpc HOST:PORT,HOST:PORT]
       peer_llamacpp.py rpc-worker PORT [--threads N]      of its RPC backend, on loopback, until it is ended
       peer_llamacpp.py quantize IN.gguf OUT.gguf Q4_0|Q4_1|Q5_0|Q5_1|Q8_0|F16|Q2_K_S|Q3_K_S|
                       Q4_K_S|Q5_K_S|Q6_K|IQ4_NL|IQ4_XS

bench prints one JSON object with the keys of `troupe bench --json`. Set-up, once (minutes): name the
instruction set, because a virtual machine may advertise one that it does not allow:

  CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON -DGGML_BMI2=ON" \\
    VENV/bin/pip install --no-cache-dir llama-cpp-python
  and for AVX-512 with VNNI also -DGGML_AVX512=ON -DGGML_AVX512_VNNI=ON -DGGML_AVX512_VBMI=ON
  -DGGML_AVX512_BF16=ON -DGGML_AVX_VNNI=ON, as far as /proc/cpuinfo lists them; for its RPC backend also
  -DGGML_RPC=ON.
"""
import argparse
import ctypes
import json
import os
import statistics
import time

import llama_cpp as llama

TYPES = {"Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "F16": 1, "Q4_K_S": 14, "Q5_K_S": 16,
         "Q6_K": 18, "Q2_K_S": 21, "Q3_K_S": 11, "IQ4_NL": 25, "IQ4_XS": 30}
WARM_UP = 16  # positions of a batch that are not measured


def token(i):
    return (i * 7919 + 13) % 30000 + 100


class Context:
    def __init__(self, model, sequences, positions, threads):
        params = llama.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = positions, 2048, 512
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = threads
        self.handle = llama.llama_init_from_model(model, params)
        self.sequences = sequences
        self.batch = llama.llama_batch_init(sequences, 0, 1)

    def clear(self):
        llama.llama_memory_clear(llama.llama_get_memory(self.handle), True)

    def run(self, batch):
        if llama.llama_decode(self.handle, batch) != 0:
            raise SystemExit("llama_decode failed")
        llama.llama_synchronize(self.handle)

    def feed(self, ids):
        array = (llama.llama_token * len(ids))(*ids)  # the batch only points at it
        self.run(llama.llama_batch_get_one(array, len(ids)))

    def step(self, position):
        """Computes one row of every sequence."""
        batch = self.batch
        batch.n_tokens = self.sequences
        for i in range(self.sequences):
            batch.token[i], batch.pos[i] = token(i + position), position
            batch.n_seq_id[i], batch.logits[i] = 1, True
            batch.seq_id[i][0] = i
        self.run(batch)


def library(name):
    folder = os.environ.get("LLAMA_CPP_LIB_PATH") or os.path.join(os.path.dirname(llama.__file__), "lib")
    return ctypes.CDLL(os.path.join(folder, f"lib{name}.so"), mode=ctypes.RTLD_GLOBAL)


def serve_rpc(port, threads):
    ggml, rpc = library("ggml"), library("ggml-rpc")
    ggml.ggml_backend_dev_by_type.restype = ctypes.c_void_p
    ggml.ggml_backend_dev_by_type.argtypes = [ctypes.c_int]
    devices = (ctypes.c_void_p * 1)(ggml.ggml_backend_dev_by_type(0))  # the CPU
    start = rpc.ggml_backend_rpc_start_server
    start.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t,
                      ctypes.c_void_p]
    start(f"127.0.0.1:{port}".encode(), None, threads, 1, ctypes.cast(devices, ctypes.c_void_p))
    raise SystemExit(f"no worker could be started on port {port}")


def use_rpc(servers):
    ggml, rpc = library("ggml"), library("ggml-rpc")
    rpc.ggml_backend_rpc_add_server.restype = ctypes.c_void_p
    rpc.ggml_backend_rpc_add_server.argtypes = [ctypes.c_char_p]
    ggml.ggml_backend_register.argtypes = [ctypes.c_void_p]
    for server in servers:
        ggml.ggml_backend_register(rpc.ggml_backend_rpc_add_server(server.encode()))


def timed(count, body):
    began = time.perf_counter()
    body()
    return count / (time.perf_counter() - began)


def decode_all(context, decode):
    context.clear()
    for i in range(WARM_UP):
        context.step(i)
    return timed(context.sequences * decode,
                 lambda: [context.step(WARM_UP + i) for i in range(decode)])


def bench(model, options):
    one = Context(model, 1, options.prompt + options.decode + 64, options.threads)
    ids = [token(i) for i in range(options.prompt)]
    one.feed(ids[:32])
    prompt, decode = [], []
    for _ in range(options.repeats):
        one.clear()
        prompt.append(timed(options.prompt, lambda: one.feed(ids)))
        one.clear()
        one.feed([5])
        decode.append(timed(options.decode,
                            lambda: [one.feed([token(i)]) for i in range(options.decode)]))
    batches = []
    for size in options.batch:
        context = Context(model, size, size * (options.decode + 64), options.threads)
        rates = [decode_all(context, options.decode) for _ in range(options.repeats)]
        batches.append({"n": size, "decode_tok_s": round(statistics.median(rates), 1)})
        llama.llama_free(context.handle)
    print(json.dumps({"prompt_tok_s_median": round(statistics.median(prompt), 1),
                      "prompt_tok_s_best": round(max(prompt), 1),
                      "decode_tok_s_median": round(statistics.median(decode), 1),
                      "decode_tok_s_best": round(max(decode), 1), "batch": batches}))


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("verb", choices=["bench", "rpc-worker", "quantize"])
    parser.add_argument("files", nargs="+")
    for name, value in (("threads", 2), ("prompt", 512), ("decode", 64), ("repeats", 3)):
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--batch", type=lambda text: [int(n) for n in text.split(",")], default=[])
    parser.add_argument("--rpc", type=lambda text: text.split(","), default=[])
    options = parser.parse_args()
    # The binding keeps no reference to a callback: ours lives as long as main.
    quiet = llama.llama_log_callback(lambda level, text, data: None)
    llama.llama_log_set(quiet, ctypes.c_void_p(0))
    llama.llama_backend_init()
    if options.verb == "rpc-worker":
        serve_rpc(options.files[0], options.threads)
    if options.verb == "quantize":
        source, target, kind = options.files
        params = llama.llama_model_quantize_default_params()
        params.allow_requantize, params.ftype = True, TYPES[kind]
        params.pure = kind.endswith("K_S") or kind in ("Q6_K", "IQ4_NL", "IQ4_XS")
        raise SystemExit(llama.llama_model_quantize(source.encode(), target.encode(),
                                                    ctypes.byref(params)))
    params = llama.llama_model_default_params()
    use_rpc(options.rpc)
    params.n_gpu_layers = 99 if options.rpc else 0
    model = llama.llama_model_load_from_file(options.files[0].encode(), params)
    if not model:
        raise SystemExit(f"llama.cpp cannot load {options.files[0]}")
    bench(model, options)


if __name__ == "__main__":
    main()
