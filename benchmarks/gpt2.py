"""λ₁ of 𝓗 of a GPT-2 with random weights: python benchmarks/gpt2.py [--layers 12 --width 768].

Eight sequences of 64 tokens, float32, eager attention. Prints λ₁ with its residual, the products,
processor time and peak memory. Repeats the row of docs/performance.md.
"""

from __future__ import annotations

import argparse
import resource
import time

import torch
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

import eosflow


def shifted(outputs: Tensor, labels: Tensor) -> Tensor:
    """The mean loss of each next token."""
    return torch.nn.functional.cross_entropy(outputs[:, :-1].flatten(0, 1), labels[:, 1:].flatten())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--tolerance", type=float, default=1e-2)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=arguments.layers,
        n_embd=arguments.width,
        n_head=arguments.width // 64,
        attn_implementation="eager",
        use_cache=False,
    )
    model = GPT2LMHeadModel(config).eval()
    tokens = torch.randint(config.vocab_size, (8, 64))
    started, wall = time.process_time(), time.perf_counter()
    problem = eosflow.Problem(model, shifted, (tokens, tokens), dtype=torch.float32)
    del model  # the problem has a copy
    print(problem, f"made in {time.process_time() - started:.0f} s", flush=True)
    pairs = eosflow.eigenpairs(problem, k=1, tolerance=arguments.tolerance, progress=True)
    spent = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"λ₁ {pairs.values[0]:.4f}, residual {pairs.residuals[0]:.2g}, {pairs.products} products; "
        f"{spent:.0f} s of processor time, {time.perf_counter() - wall:.0f} s with "
        f"{torch.get_num_threads()} threads, peak {peak:.2f} GiB"
    )


if __name__ == "__main__":
    main()
