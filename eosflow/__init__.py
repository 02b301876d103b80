"""The curvature of the training loss of your own networks, and training that records it.

`Problem`, `eigenpairs`, `decompose` and `follow` are described in docs/library.md. Optimizers,
measurements and batches are available by the names of their classes. All names are imported at
their first use, because planning the workflow imports this package and must be fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eosflow.library import *  # noqa: F403
    from eosflow.measurements import *  # noqa: F403
    from eosflow.optimizers import *  # noqa: F403
    from eosflow.optimizers.batches import *  # noqa: F403
    from eosflow.optimizers.wraps import *  # noqa: F403

__version__ = "0.2.0"

_LIBRARY = (
    "SGD",
    "Density",
    "EigenPairs",
    "Monitor",
    "Problem",
    "Run",
    "Sharpness",
    "UserError",
    "decompose",
    "eigenpairs",
    "follow",
    "spectral_density",
    "trace",
)
_MODULES = ("integrations", "plot")
_REGISTRIES = {
    "eosflow.optimizers": "OPTIMIZERS",
    "eosflow.optimizers.batches": "BATCHES",
    "eosflow.optimizers.wraps": "WRAPS",
    "eosflow.measurements": "MEASUREMENTS",
}


def _plugins() -> dict[str, type[Any]]:
    """All that is registered, by the names of the classes; imports no torch."""
    registries = (
        getattr(importlib.import_module(module), name) for module, name in _REGISTRIES.items()
    )
    return {plugin.__name__: plugin for registry in registries for plugin in registry.values()}


if not TYPE_CHECKING:  # what a type checker does not know is a mistake

    def __getattr__(name: str) -> Any:
        """A public name, imported now. Source: PEP 562."""
        if name in _MODULES:
            found = importlib.import_module(f"eosflow.{name}")
        elif name in _LIBRARY:
            found = getattr(importlib.import_module("eosflow.library"), name)
        elif name[:1].isupper() and name in (plugins := _plugins()):
            found = plugins[name]
        else:
            raise AttributeError(f"module 'eosflow' has no attribute {name!r}")
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LIBRARY, *_MODULES, *_plugins()})
