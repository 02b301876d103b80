"""The library against curvlinops, hessian-eigenthings and plain torch, in one run.

Processor time of one thread, each side at the precision that it prefers; a ratio above 1 says that
ours is faster than the fastest peer. The top five count at equal accuracy: each peer's cheapest
setting with ‖𝓗v − λv‖ ≤ 1e-4 |λ| in float64 for all five, which is what ours is asked for. Peak
memory is that of processes that do nothing else. Prints a row as it comes, and writes
results/benchmarks-library.csv.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peak import peak_gibibytes
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import eosflow

K, TOLERANCE, PROBES, STEPS = 5, 1e-4, 10, 15
# Krylov sizes that hessian-eigenthings, and tolerances that ARPACK, are tried with, as if their
# user had known.
SIZES = (25, 30, 35, 40, 45, 50, 60, 70, 80, 100, 120, 150)
TOLERANCES = (1e-4, 3e-5, 1e-5, 3e-6)


def cnn() -> tuple[nn.Module, Tensor]:
    """40,000 parameters, 200 images of 3 × 32 × 32."""
    layers = [nn.Conv2d(3, 16, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2)]
    layers += [nn.Conv2d(16, 32, 3, padding=1), nn.Tanh(), nn.AvgPool2d(4), nn.Flatten()]
    layers += [nn.Linear(512, 64), nn.Tanh(), nn.Linear(64, 10)]
    return nn.Sequential(*layers), torch.randn(200, 3, 32, 32)


def mlp() -> tuple[nn.Module, Tensor]:
    """2.6 million parameters, 390 examples of 3072 numbers."""
    sizes = (3072, 512, 512, 512, 512, 512, 10)
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.ELU()]
    return nn.Sequential(*layers[:-1]), torch.rand(390, 3072)


def transformer() -> tuple[nn.Module, Tensor]:
    """77,000 parameters, 64 sequences of 16 vectors."""
    made = [nn.TransformerEncoderLayer(64, 4, 128, 0.0, batch_first=True) for _ in range(2)]
    return nn.Sequential(*made, nn.Flatten(), nn.Linear(1024, 10)), torch.randn(64, 16, 64)


PROBLEMS: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "cnn": cnn, "transformer": transformer, "mlp": mlp,
}  # fmt: skip


class Peers:
    """Products with 𝓗 of each peer, in a precision."""

    def __init__(self, module: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> None:

        from curvlinops import HessianLinearOperator
        from hessian_eigenthings import HessianOperator, supervised_loss

        self.module = copy.deepcopy(module).to(dtype)
        self.dtype, self.x, self.y = dtype, x.to(dtype), y
        self.parameters = list(self.module.parameters())
        loss = nn.CrossEntropyLoss()
        data = [(self.x, y)]
        self.curvlinops = HessianLinearOperator(self.module, loss, self.parameters, data)
        self.eigenthings = HessianOperator(self.module, data, supervised_loss(loss))
        self._loss = loss

    def plain(self, v: Tensor) -> Tensor:
        """Double backward, made anew at each product."""
        value = self._loss(self.module(self.x), self.y)
        slopes = torch.autograd.grad(value, self.parameters, create_graph=True)
        parts = v.split([p.numel() for p in self.parameters])
        shaped = [a.view_as(p) for a, p in zip(parts, self.parameters, strict=True)]
        found = torch.autograd.grad(slopes, self.parameters, shaped)
        return torch.cat([part.reshape(-1) for part in found])

    def products(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """By the peer's name."""
        return {
            "curvlinops": lambda v: self.curvlinops @ v,
            "hessian-eigenthings": self.eigenthings.matvec,
            "plain torch": self.plain,
        }


def seconds(work: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """Median processor time, and what came of it."""
    taken, found = [], None
    for _ in range(repeats):
        start = time.process_time()
        found = work()
        taken.append(time.process_time() - start)
    return statistics.median(taken), found


def top_by_scipy(
    product: Callable[[Tensor], Tensor], size: int, dtype: torch.dtype, tolerance: float
) -> Any:
    """The k largest by ARPACK, with vectors (P, k)."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    kind = np.float32 if dtype == torch.float32 else np.float64
    operator = LinearOperator(
        (size, size),
        matvec=lambda v: product(torch.from_numpy(v.astype(kind).reshape(-1))).numpy(),
        dtype=kind,
    )
    values, vectors = eigsh(operator, K, which="LA", tol=tolerance, maxiter=50)
    return torch.from_numpy(values), torch.from_numpy(vectors)


def top_by_eigenthings(peers: Peers, steps: int) -> Tensor:
    """Vectors (P, k) of the k largest from a Krylov space of so many steps."""
    from hessian_eigenthings import lanczos

    found = lanczos(
        peers.eigenthings, k=K, which="LA", max_iter=steps, seed=0, reorthogonalize=True
    )
    vectors: Tensor = found.eigenvectors.T
    return vectors


def problem_of(name: str) -> tuple[nn.Module, Tensor, Tensor]:
    """The module, its inputs and labels."""
    torch.manual_seed(0)
    module, x = PROBLEMS[name]()
    return module, x, torch.randint(10, (len(x),))


def memory_of(name: str, side: str, steps: int) -> float:
    """Peak memory (GiB) of a process that finds the top five, `steps` being Krylov vectors."""
    command = [sys.executable, __file__, "--memory", name, side, str(steps)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def use_memory(name: str, side: str, steps: int) -> None:
    """Find the top five by one side, and print the peak memory of this process."""
    module, x, y = problem_of(name)
    if side == "ours":
        eosflow.eigenpairs(eosflow.Problem(module, "cross_entropy", (x, y)), k=K)
    elif side == "hessian-eigenthings":
        top_by_eigenthings(Peers(module, x, y, torch.float32), steps)
    else:
        peers = Peers(module, x, y, torch.float32)
        size = sum(p.numel() for p in peers.parameters)
        top_by_scipy(peers.products()[side], size, torch.float32, TOLERANCE)
    print(peak_gibibytes())


def rows_of(name: str) -> list[dict[str, Any]]:
    """Each task: our time, the fastest peer's, and the residuals of the pairs."""
    from hessian_eigenthings import hutchinson
    from hessian_eigenthings import spectral_density as their_density

    module, x, y = problem_of(name)
    own = eosflow.Problem(module, "cross_entropy", (x, y))
    exact = eosflow.Problem(module, "cross_entropy", (x, y), dtype=torch.float64)
    peers = {dtype: Peers(module, x, y, dtype) for dtype in (torch.float32, torch.float64)}
    single, size = peers[torch.float32], len(own.theta)

    def residual(vectors: Tensor) -> float:
        vectors = torch.linalg.qr(vectors.double()).Q
        images = exact.product("hessian", vectors)
        values, turn = torch.linalg.eigh(vectors.T @ images)
        apart = images @ turn - vectors @ turn * values
        return (apart.norm(dim=0) / values.abs()).max().item()

    rows = []

    def add(task: str, ours: float, theirs: dict[str, float], **more: Any) -> None:
        best = min(theirs, key=lambda peer: theirs[peer])
        row = {"case": name, "task": task, "ratio": theirs[best] / ours, "fastest": best}
        row |= {"ours_seconds": ours, **{f"{p}_seconds": t for p, t in theirs.items()}, **more}
        rows.append(row)
        print({k: round(v, 6) if isinstance(v, float) else v for k, v in row.items()}, flush=True)

    for dtype, both in peers.items():
        evaluation = exact.evaluation
        v = torch.randn(size, dtype=dtype)
        ours, found = seconds(lambda e=evaluation, v=v: e.product("hessian", v[:, None])[:, 0], 5)
        theirs = {}
        for peer, product in both.products().items():
            theirs[peer], image = seconds(lambda f=product, v=v: f(v), 5)
            assert (image - found).norm() < 1e-2 * found.norm()
        add(f"𝓗v, one column, {dtype}", ours, theirs)
    ours, pairs = seconds(lambda: eosflow.eigenpairs(own, k=K, tolerance=TOLERANCE), 2)
    assert pairs.converged.all()
    theirs, errors = {}, {}
    for peer in ("curvlinops", "plain torch"):
        product = single.products()[peer]
        for tolerance in TOLERANCES:
            theirs[peer], (_, vectors) = seconds(
                lambda f=product, t=tolerance: top_by_scipy(f, size, torch.float32, t), 1
            )
            errors[f"{peer}_residual"] = residual(vectors)
            if errors[f"{peer}_residual"] <= TOLERANCE:
                break
    for steps in SIZES:
        theirs["hessian-eigenthings"], vectors = seconds(
            lambda m=steps: top_by_eigenthings(single, m), 1
        )
        errors["hessian-eigenthings_residual"] = residual(vectors)
        if errors["hessian-eigenthings_residual"] <= TOLERANCE:
            break
    for peer in list(theirs):  # who does not get there has no time
        if errors[f"{peer}_residual"] > TOLERANCE:
            theirs[peer] = float("inf")
    errors["ours_residual"] = residual(pairs.vectors)
    errors |= {f"{side}_GiB": memory_of(name, side, steps) for side in ("ours", *theirs)}
    add("top 5 of 𝓗", ours, theirs, **errors)
    ours, _ = seconds(lambda: eosflow.spectral_density(own, probes=PROBES, steps=STEPS), 1)
    taken, _ = seconds(
        lambda: their_density(single.eigenthings, num_runs=PROBES, lanczos_steps=STEPS, seed=0), 1
    )
    add("density, 10 × 15", ours, {"hessian-eigenthings": taken})
    ours, _ = seconds(lambda: eosflow.trace(own, probes=30), 1)
    taken, _ = seconds(lambda: hutchinson(single.eigenthings, num_samples=30, seed=0), 1)
    add("trace, 30 probes", ours, {"hessian-eigenthings": taken})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("results/benchmarks-library.csv"))
    parser.add_argument("--cases", nargs="*", default=list(PROBLEMS), choices=list(PROBLEMS))
    parser.add_argument("--memory", nargs=3, metavar=("CASE", "SIDE", "STEPS"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    if arguments.memory:
        case, side, steps = arguments.memory
        with sdpa_kernel(SDPBackend.MATH):
            use_memory(case, side, int(steps))
        return
    import pandas as pd  # here, as a process that measures its memory shall hold its side alone

    rows: list[dict[str, Any]] = []
    # Plain attention for all: the fast ones have no second derivative.
    with sdpa_kernel(SDPBackend.MATH):
        for case in arguments.cases:
            rows += rows_of(case)
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(rows).to_csv(arguments.output, index=False)


if __name__ == "__main__":
    main()
