"""The library against curvlinops, hessian-eigenthings and plain torch, in one run.

Processor time of one thread, each side at the precision that it prefers; a ratio above 1 says that
ours is faster than the fastest peer. Prints a row as it comes, and writes
results/benchmarks-library.csv.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import eosflow

K, TOLERANCE, PROBES, STEPS = 5, 1e-4, 10, 15
# Krylov sizes that hessian-eigenthings, whose user chooses one, is tried with.
SIZES = (30, 40, 50, 60, 80, 100, 150)


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


def top_by_scipy(product: Callable[[Tensor], Tensor], size: int, dtype: torch.dtype) -> Any:
    """The k largest by ARPACK, with vectors (P, k)."""
    from scipy.sparse.linalg import LinearOperator

    kind = np.float32 if dtype == torch.float32 else np.float64
    operator = LinearOperator(
        (size, size),
        matvec=lambda v: product(torch.from_numpy(v.astype(kind).reshape(-1))).numpy(),
        dtype=kind,
    )
    values, vectors = eigsh(operator, K, which="LA", tol=TOLERANCE, maxiter=50)
    return torch.from_numpy(values), torch.from_numpy(vectors)


def rows_of(name: str) -> list[dict[str, Any]]:
    """Each task: our time, the fastest peer's, and the residuals of the pairs."""
    from hessian_eigenthings import hutchinson, lanczos
    from hessian_eigenthings import spectral_density as their_density

    torch.manual_seed(0)
    module, x = PROBLEMS[name]()
    y = torch.randint(10, (len(x),))
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
        theirs[peer], (_, vectors) = seconds(
            lambda f=product: top_by_scipy(f, size, torch.float32), 2
        )
        errors[f"{peer}_residual"] = residual(vectors)
    for steps in SIZES:  # the smallest that does, as if its user had known
        taken, result = seconds(
            lambda m=steps: lanczos(
                single.eigenthings, k=K, which="LA", max_iter=m, seed=0, reorthogonalize=True
            ), 1
        )  # fmt: skip
        errors["hessian-eigenthings_residual"] = residual(result.eigenvectors.T)
        theirs["hessian-eigenthings"] = taken
        if bool(result.converged.all()):
            break
    add("top 5 of 𝓗", ours, theirs, ours_residual=residual(pairs.vectors), **errors)
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
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    rows: list[dict[str, Any]] = []
    # Plain attention for all: the fast ones have no second derivative.
    with sdpa_kernel(SDPBackend.MATH):
        for case in arguments.cases:
            rows += rows_of(case)
            arguments.output.parent.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(rows).to_csv(arguments.output, index=False)


if __name__ == "__main__":
    main()
