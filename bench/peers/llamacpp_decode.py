"""llama.cpp's side of decode_bench: prompt reading and greedy decoding of one sequence, two threads."""
import argparse
import json
import time

from llama_cpp import Llama

parser = argparse.ArgumentParser()
parser.add_argument("--model")
parser.add_argument("--prompt")
parser.add_argument("--new-tokens", type=int)
parser.add_argument("--output")
args = parser.parse_args()

model = Llama(args.model, n_ctx=1024, n_threads=2, n_threads_batch=2, verbose=False)
ids = model.tokenize(args.prompt.encode())
model.eval(ids)  # the file's pages are in memory before anything is measured
model.reset()
start = time.time()
model.eval(ids)
prefill_s = time.time() - start
start = time.time()
for _ in range(args.new_tokens):
    model.eval([model.sample(temp=0.0)])
decode_s = (time.time() - start) / args.new_tokens
with open(args.output, "w") as file:
    json.dump({"llama.cpp prefill": len(ids) / prefill_s, "llama.cpp decode": 1e3 * decode_s}, file)
