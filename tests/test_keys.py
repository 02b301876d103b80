"""Keys that last: what a run is recognised by stays as it is when settings are added."""

from __future__ import annotations

import dataclasses

import pytest
from problems import small_spec
from pydantic import Field

from eosflow.networks.mlp import MLPSettings
from eosflow.optimizers.batches import Shuffled
from eosflow.runs.spec import RunSpec, Stop
from eosflow.storage.files import read_json
from eosflow.workflow.generate import KEYS, keys


@pytest.mark.registry
def test_keys_are_those_of_the_runs_that_are_there() -> None:
    stored, now = read_json(KEYS), keys()
    moved = [name for name, key in stored.items() if now.get(name) != key]
    assert moved == [], "finished runs would be trained again"
    assert now.keys() == stored.keys(), "`make generate` adds the new ones"


def test_a_new_setting_at_its_default_changes_no_key() -> None:
    class Wider(MLPSettings):
        dropout: float = Field(0.0, description="a setting of a later version")

    old = small_spec()
    values = dict(old.network)
    new = dataclasses.replace(old, network=Wider(**values))
    assert (new.key, new.trajectory_key) == (old.key, old.trajectory_key)
    assert dataclasses.replace(new, network=Wider(**values, dropout=0.5)).key != old.key


def test_every_setting_that_changes_a_number_changes_the_key() -> None:
    old = small_spec()
    changed = [
        small_spec(width=9),
        small_spec(image_size=5),
        small_spec(max_step_size=0.3),
        small_spec(every=21),
        small_spec(init_seed=1),
        small_spec(criterion="squared_error"),
        small_spec(target_loss=0.7),
        small_spec(max_iterations=401),
    ]
    assert len({spec.key for spec in [old, *changed]}) == len(changed) + 1
    # Runs that differ only in where they end share their steps.
    ends = [spec for spec in changed if spec.trajectory_key == old.trajectory_key]
    assert ends == changed[-2:]


def test_a_record_and_its_brief_are_read_back() -> None:
    for spec in (small_spec(), small_spec(stop=Stop(), batch=Shuffled(size=4))):
        assert RunSpec.from_record(spec.to_record()) == spec
