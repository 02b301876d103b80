"""The curvature of the training loss of your own networks, and training that records it.

`Problem`, `eigenpairs`, `decompose` and `follow` are described in docs/library.md. Optimizers,
measurements and batches are available by the names of their classes. All names are imported at
their first use, because planning the workflow imports this package and must be fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eosflow.library.density import Density as Density
    from eosflow.library.density import spectral_density as spectral_density
    from eosflow.library.density import trace as trace
    from eosflow.library.factors import Sharpness as Sharpness
    from eosflow.library.factors import decompose as decompose
    from eosflow.library.following import SGD as SGD
    from eosflow.library.following import Run as Run
    from eosflow.library.following import follow as follow
    from eosflow.library.monitor import Monitor as Monitor
    from eosflow.library.problem import Problem as Problem
    from eosflow.library.spectrum import EigenPairs as EigenPairs
    from eosflow.library.spectrum import eigenpairs as eigenpairs
    from eosflow.measurements import *  # noqa: F403
    from eosflow.optimizers import *  # noqa: F403
    from eosflow.optimizers.batches import *  # noqa: F403
    from eosflow.optimizers.wraps import *  # noqa: F403
    from eosflow.storage.errors import UserError as UserError

__version__ = "0.2.0"

# Each name in its module: who wants eigenpairs need not wait for pandas.
_LIBRARY = {
    "SGD": "library.following",
    "Density": "library.density",
    "EigenPairs": "library.spectrum",
    "Monitor": "library.monitor",
    "Problem": "library.problem",
    "Run": "library.following",
    "Sharpness": "library.factors",
    "UserError": "storage.errors",
    "decompose": "library.factors",
    "eigenpairs": "library.spectrum",
    "follow": "library.following",
    "spectral_density": "library.density",
    "trace": "library.density",
}
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
            found = getattr(importlib.import_module(f"eosflow.{_LIBRARY[name]}"), name)
        elif name[:1].isupper() and name in (plugins := _plugins()):
            found = plugins[name]
        else:
            raise AttributeError(f"module 'eosflow' has no attribute {name!r}")
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LIBRARY, *_MODULES, *_plugins()})
