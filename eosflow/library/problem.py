"""A user's module, loss and data as one problem: 𝓛(θ), checked before anything is computed."""

from __future__ import annotations

import itertools
import time
import warnings
from typing import TYPE_CHECKING, Any, get_args

import torch
from torch import Tensor, nn

from eosflow.library.data import Data, read
from eosflow.library.labels import criterion_for, one_of
from eosflow.networks.inputs import packed, signature_of
from eosflow.networks.module import ACTIVATION_MODULES
from eosflow.networks.perceptron import MLP
from eosflow.networks.user_module import UserModule
from eosflow.objectives.base import WORKSPACE_BYTES, Evaluation, Matrix, Objective
from eosflow.objectives.criteria import LOSSES, Criterion
from eosflow.objectives.mlp import MLPObjective
from eosflow.objectives.reverse import ReverseObjective
from eosflow.objectives.user_loss import Loss
from eosflow.storage.errors import UserError

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

PRECISIONS = (None, torch.float64, torch.float32)
# Below so many parameters a search in float32 saves nothing.
SMALL = 4096


class Problem:
    """𝓛(θ) = E[ℓ(f(x; θ), y)] + (λ/2)‖θ‖², the training loss of your own network.

    `module`: any `torch.nn.Module` that returns a row of outputs per example, or an object with
    such `logits`. A copy is used, with its weights, device and mode; the module itself does not
    change. Parameters without `requires_grad`, and padding rows of embeddings, are frozen.
    `criterion`: a name (`cross_entropy`, `squared_error`, `mean_squared_error`,
    `half_squared_error`) or a loss of (outputs, labels) that is a mean over the examples,
    Σ wᵢℓᵢ/Σ wᵢ. `data`: (inputs, labels), or batches of such pairs, read once in their order;
    inputs are a tensor, several, or a mapping of keyword inputs, and a batch may be a mapping with
    `labels`.

    `dtype`: None searches in float32 if that saves time and computes values and residuals by
    float64 products; torch.float32 and torch.float64 use only that precision. `weight_decay`: λ,
    part of 𝓛 and 𝓗, not of G and R.

    Raises: UserError, with a remedy, for a module that is not a fixed, twice differentiable
    function of single examples, a loss that is not a mean over them, or labels that do not fit.

    >>> import torch, eosflow
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    >>> inputs, labels = torch.randn(20, 4), torch.randint(3, (20,))
    >>> problem = eosflow.Problem(net, "cross_entropy", (inputs, labels))
    >>> problem
    Problem: Sequential, 67 parameters, cross_entropy, 20 examples

    With your own loss and batches:

    >>> loader = torch.utils.data.DataLoader(list(zip(inputs, labels)), batch_size=8)
    >>> same = eosflow.Problem(net, torch.nn.CrossEntropyLoss(), loader)
    >>> abs(problem.loss - same.loss) < 1e-12
    True
    """

    def __init__(
        self,
        module: nn.Module,
        criterion: str | Loss,
        data: Data,
        *,
        dtype: torch.dtype | None = None,
        weight_decay: float = 0.0,
    ) -> None:
        module = _plain(module)
        if dtype not in PRECISIONS:
            raise UserError(
                f"dtype: {dtype} was given; allowed: None, torch.float32, torch.float64."
            )
        if not weight_decay >= 0:
            raise UserError(f"weight_decay: {weight_decay} was given; it must be at least 0.")
        self.dtype = dtype
        precision = dtype or torch.float64
        device = next((p.device for p in module.parameters()), torch.device("cpu"))
        given, labels = read(data, device, precision)
        rows, layout = packed(given, precision)
        self.network = UserModule(module, rows, layout, precision)
        self._name = type(module).__name__
        self._loss = criterion
        flat = rows.reshape(len(rows), -1)
        found, targets = _criterion(criterion, self.network, flat, labels)
        self.objective = objective_of(self.network, found, flat, targets, weight_decay)
        if self.network.part_single:
            warnings.warn(
                f"{self._name} computes partly in float32, whatever its inputs: its numbers are "
                "accurate to about 4 digits.",
                stacklevel=2,
            )

    @property
    def theta(self) -> Tensor:
        """The module's own weights θ (P,)."""
        return self.network.start

    @property
    def loss(self) -> float:
        """𝓛 at the module's own weights."""
        return self.evaluation.loss

    @property
    def evaluation(self) -> Evaluation:
        """𝓛, its gradient and products with its curvature at the module's own weights."""
        return self.objective.evaluate(self.theta)

    def gradient_seconds(self) -> float:
        """Estimated seconds of a float64 gradient, from one in the problem's precision."""
        started = time.perf_counter()
        _ = self.evaluation.gradient
        share = self.theta.dtype.itemsize / torch.float64.itemsize
        return (time.perf_counter() - started) / share

    @property
    def search_dtype(self) -> torch.dtype:
        """The precision of the search for eigenpairs."""
        if self.dtype is not None:
            return self.dtype
        return torch.float32 if len(self.theta) >= SMALL else torch.float64

    def product(self, matrix: Matrix, vectors: Tensor) -> Tensor:
        """𝓗V, GV or RV for V (P,) or (P, k), in its precision.

        >>> import torch, eosflow
        >>> line = torch.nn.Linear(2, 1, bias=False)
        >>> data = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0], [1.0]])
        >>> problem = eosflow.Problem(line, "half_squared_error", data)
        >>> problem.product("hessian", torch.eye(2).double()).tolist()  # of E[x xᵀ]
        [[2.0, 0.0], [0.0, 0.5]]
        """
        one_of("matrix", matrix, get_args(Matrix))
        size = len(self.theta)
        if vectors.ndim not in (1, 2) or len(vectors) != size:
            raise UserError(
                f"vectors: shape {tuple(vectors.shape)} was given; it must be ({size},) or "
                f"({size}, k)."
            )
        block = vectors.detach().reshape(size, -1).to(self.theta.device)
        return self.evaluation.product(matrix, block).reshape(vectors.shape)

    def operator(self, matrix: Matrix = "hessian") -> LinearOperator:
        """𝓗, G or R at the module's own weights as a scipy LinearOperator (P, P).

        >>> import torch, eosflow
        >>> from scipy.sparse.linalg import eigsh
        >>> line = torch.nn.Linear(3, 1)
        >>> problem = eosflow.Problem(line, "squared_error", (torch.eye(3), torch.ones(3, 1)))
        >>> round(float(eigsh(problem.operator("hessian"), k=1)[0][0]), 6)
        2.666667
        """
        from scipy.sparse.linalg import LinearOperator

        one_of("matrix", matrix, get_args(Matrix))
        evaluation, like = self.evaluation, self.theta

        def apply(block: Any) -> Any:
            given = torch.as_tensor(block, dtype=like.dtype, device=like.device)
            images = evaluation.product(matrix, given.reshape(len(like), -1))
            return images.reshape(given.shape).cpu().numpy()

        shape = (len(like), len(like))
        kind = str(like.dtype).removeprefix("torch.")
        return LinearOperator(shape, matvec=apply, matmat=apply, rmatvec=apply, dtype=kind)

    def objective_of(self, data: Data) -> Objective:
        """The same loss and network on other examples."""
        rows, targets, found = examples_of(data, self.network, self._loss)
        return objective_of(self.network, found, rows, targets)

    def __repr__(self) -> str:
        text = (
            f"Problem: {self._name}, {self.network.parameters} parameters, "
            f"{self.objective.criterion.name}, {self.objective.examples} examples"
        )
        return f"{text}, computes partly in float32" if self.network.part_single else text


def examples_of(
    data: Data, network: UserModule, loss: str | Loss
) -> tuple[Tensor, Tensor, Criterion]:
    """Inputs (N, D) as the network reads them, and targets with the criterion that they are for.

    Raises: UserError for examples of another kind than those that the network was tried on.
    """
    given, labels = read(data, network.start.device, network.dtype)
    rows, layout = packed(given, network.dtype)
    if (layout.names, layout.shapes) != (network.layout.names, network.layout.shapes):
        raise UserError(
            f"data: inputs {signature_of(layout)} were given; the others are "
            f"{signature_of(network.layout)}."
        )
    flat = rows.reshape(len(rows), -1)
    criterion, targets = _criterion(loss, network, flat, labels)
    return flat, targets, criterion


def _criterion(
    loss: str | Loss, network: UserModule, inputs: Tensor, labels: Tensor
) -> tuple[Criterion, Tensor]:
    def outputs(part: slice) -> Tensor:
        with torch.no_grad():
            return network.outputs(network.start, inputs[part])

    causal = type(network.module).__name__.endswith(("ForCausalLM", "LMHeadModel"))
    return criterion_for(loss, network, outputs, labels, causal)


def _plain(module: Any) -> nn.Module:
    """The module itself, out of what spreads it over devices."""
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner: nn.Module = module.module
        return inner
    if isinstance(module, dict):
        raise UserError(
            "module: a state_dict was given. Load it into its module, and give that module: "
            "module.load_state_dict(...)."
        )
    if not isinstance(module, nn.Module):
        raise UserError(
            f"module: {type(module).__name__} was given; it must be a torch.nn.Module. Put "
            "a function into the forward of a module."
        )
    return module


def objective_of(
    network: UserModule,
    criterion: Criterion,
    inputs: Tensor,
    targets: Tensor,
    weight_decay: float = 0.0,
    closed: type[MLPObjective] = MLPObjective,
    reverse: type[ReverseObjective] = ReverseObjective,
) -> MLPObjective | ReverseObjective:
    """In closed form for a plain MLP, by reverse mode for any other module."""
    mlp = _mlp(network)
    if mlp is not None and criterion.name in LOSSES:
        return closed(mlp, criterion.name, inputs, targets, weight_decay=weight_decay)
    # Each chunk of examples costs some passes over θ: it may take as much memory as θ.
    room = max(WORKSPACE_BYTES, network.start.nbytes)
    return reverse(network, criterion, inputs, targets, room, weight_decay)


def _mlp(network: UserModule) -> MLP | None:
    """The MLP that the module is: affine layers with one activation between them; None if none."""
    if not network.layout.single or not network.layout.dtypes[0].is_floating_point:
        return None
    if type(network.module) is not nn.Sequential or len(network.layout.shape) != 1:
        return None
    layers = list(network.module)
    affine = [layer for layer in layers[::2] if type(layer) is nn.Linear]
    between = layers[1::2]
    if not between or len(affine) != len(between) + 1 or len(affine) != len(layers[::2]):
        return None
    hooked = any(m._forward_hooks or m._forward_pre_hooks for m in (network.module, *layers))
    if hooked or any(layer.bias is None for layer in affine):
        return None
    named = [
        name
        for name, make in ACTIVATION_MODULES.items()
        if all(repr(layer) == repr(make()) and type(layer) is make for layer in between)
    ]
    if not named or len({id(layer) for layer in affine}) < len(affine):
        return None
    sizes = [affine[0].in_features, *(layer.out_features for layer in affine)]
    closed = MLP(tuple(sizes), named[0])
    whole = sum(a * b + b for a, b in itertools.pairwise(sizes))
    return closed if network.parameters == whole else None
