"""The config: read, cleaned, and refused with a helpful message. No science, fast to import.

`schema` says what a key may be, `cross_checks` what must go together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from eosflow.storage.errors import UserError
from eosflow.storage.refusals import refusals
from eosflow.workflow import cross_checks, expand, grid
from eosflow.workflow.schema import Config, as_json


def load(paths: Iterable[Path | str], overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Read config files, later ones on top, then `overrides`, as Snakemake does; then `clean`.

    Raises: UserError where a file cannot be read, or its values are not allowed.
    """
    merged: dict[str, Any] = {}
    for path in map(Path, paths):
        try:
            layer = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"The config file {path} cannot be read: {error.strerror}.") from None
        except yaml.YAMLError as error:
            raise UserError(f"The config file {path} is not valid YAML: {error}") from None
        if not isinstance(layer, dict):
            raise UserError(f"The config file {path} holds no keys: it must look like config.yaml.")
        merged = _merge(merged, layer)
    return clean(_merge(merged, overrides or {}))


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(old, Mapping)
        merged[key] = _merge(old, value) if both else value  # type: ignore[arg-type]
    return merged


def clean(config: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with grids unfolded and numbers as numbers.

    Snakemake's `--config` passes nested values on as text, and YAML reads 1e-2 as text.

    Raises: UserError with a line for each key or value that is wrong: what was given, and what is
    allowed.
    """
    given = dict(config)
    if isinstance(given.get("experiments"), Mapping):
        given["experiments"] = grid.unfolded(given["experiments"])
    try:
        cleaned = as_json(Config.model_validate(given))
    except ValidationError as error:
        _refuse(refusals(Config, error))
    _refuse(list(cross_checks.problems(cleaned)))
    return cleaned


def _refuse(problems: list[str]) -> None:
    if problems:
        count = "This value" if len(problems) == 1 else f"These {len(problems)} values"
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise UserError(
            f"{count} of the configuration cannot be used:\n{lines}\n"
            "docs/configuration.md lists what is allowed; config.yaml holds what the paper uses."
        )


def available(config: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Leave out the experiments with `skip_without_archive` whose archive is missing.

    An archive is there if an earlier run has fetched it, or where a mirror is named; nothing
    is looked up. Returns: the config with the rest in `select`, and a line for each one left out.

    Raises: UserError where nothing is left.
    """
    left_out = {
        name: missing
        for name in expand.chosen(config)
        if config["experiments"][name].get("skip_without_archive", False)
        and (missing := missing_archives(config, config["experiments"][name]["dataset"]))
    }
    lines = [
        f"{name} is left out, for it needs {' and '.join(missing)}: name a folder that holds it "
        "with --config mirror=FOLDER (make demo MIRROR=FOLDER)."
        for name, missing in left_out.items()
    ]
    selected = [name for name in config["select"] if name not in left_out]
    kept = {name: each for name, each in config["experiments"].items() if name not in left_out}
    made = expand.of_studies({**config, "experiments": kept})
    studies = [name for name in config["studies"] if made.get(name, True)]
    if not selected and (config["select"] or not studies):
        raise UserError("No experiment is left to run:\n  " + "\n  ".join(lines))
    of_study = set(left_out) - set(config["select"])
    experiments = {n: each for n, each in config["experiments"].items() if n not in of_study}
    return {**config, "select": selected, "studies": studies, "experiments": experiments}, lines


def missing_archives(config: Mapping[str, Any], dataset: str) -> list[str]:
    """Archives of a dataset that are neither in the results folder nor in a mirror."""
    if config["mirror"] is not None:
        return []
    folder = Path(config["results_dir"]) / "data" / "archives"
    names = [archive.name for archive in expand.dataset(config, dataset).facts.archives]
    return [name for name in names if not (folder / name).exists()]
