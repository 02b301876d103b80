"""The results of forward and backward passes through an MLP, for its products and factors."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Passes:
    """What a block product reads of some examples (n of them), for l = 1..L−1 in the lists.

    `back` is ∂𝓛/∂z_l, and `second_order` is ∂𝓛/∂a_l ∘ φ''/φ', or ∂𝓛/∂a_l ∘ φ'' if the activation
    gives no ratio; both already divided by N.
    """

    states: list[Tensor]  # a_0 … a_{L−1}, (n, d_l)
    slopes: list[Tensor]  # φ'(z_l), (n, d_l)
    back: list[Tensor]  # l = 1..L, (n, d_l)
    second_order: list[Tensor]  # (n, d_l)
    outputs: Tensor  # z_L, (n, C)

    def copy_(self, other: Passes) -> None:
        """Overwrite all but the inputs a_0 with another's numbers, rounded to this one's dtype."""
        pairs = [
            (self.outputs, other.outputs),
            *zip(self.states[1:], other.states[1:], strict=True),
        ]
        for name in ("slopes", "back", "second_order"):
            pairs += zip(getattr(self, name), getattr(other, name), strict=True)
        for mine, theirs in pairs:
            mine.copy_(theirs)

    def rows(self, start: int, length: int) -> Passes:
        """Views of the examples start … start + length − 1."""
        part = slice(start, start + length)
        lists = (self.states, self.slopes, self.back, self.second_order)
        states, slopes, back, second_order = ([tensor[part] for tensor in group] for group in lists)
        return Passes(states, slopes, back, second_order, self.outputs[part])


@dataclass(frozen=True)
class Factors:
    """What the factors of the sharpness are made of, for n examples and l = 1..L.

    outputs z_L (n, C); squares ‖a_{l−1}‖² (L, n); slopes φ'(z_l), L−1 of (n, d_l); grams B_l B_lᵀ
    (L, n, C, C).
    """

    outputs: Tensor
    squares: Tensor
    slopes: list[Tensor]
    grams: Tensor

    @property
    def scales(self) -> Tensor:
        """1 + ‖a_{l−1}‖² (L, n): the squared norm of what W_l and b_l act on."""
        return 1 + self.squares
