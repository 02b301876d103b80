"""Settings of a plug-in, declared once, as the fields of a frozen pydantic model.

From the fields follow what the config allows, the defaults, and what a run's record holds. A
plug-in is such a class with a `name`; a registry maps names to classes.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Literal,
    Self,
    TypeVar,
    get_args,
    get_origin,
)

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    ValidationError,
    ValidationInfo,
    create_model,
    field_validator,
)
from pydantic_core import PydanticKnownError

from eosflow.storage.errors import UserError

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    ModelMetaclass = type(BaseModel)

T = TypeVar("T", bound="Plugin")


class _Explained(ModelMetaclass):
    """Says in words why a model cannot be made of what a program gave it."""

    if not TYPE_CHECKING:

        def __call__(cls, *args: Any, **settings: Any) -> Any:
            try:
                return super().__call__(*args, **settings)
            except ValidationError as error:
                from eosflow.storage.refusals import refusals

                lines = refusals(cls, error, cls.__name__)
                raise UserError("\n".join(lines)) from None


class Settings(BaseModel, metaclass=_Explained):
    """Names with values: unknown names are refused, numbers are finite, text is read as numbers.

    Raises: UserError naming every setting that is refused, what was given and what is allowed.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        defer_build=True,
        protected_namespaces=(),
    )

    @field_validator("*", mode="before")
    @classmethod
    def _as_meant(cls, value: Any, info: ValidationInfo) -> Any:
        """Text as what it stands for where text is not allowed; true and false are no numbers."""
        kind = cls.model_fields[str(info.field_name)].annotation
        if value == "null" and type(None) in get_args(kind):
            return None
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        if isinstance(value, str) and choices and not any(isinstance(c, str) for c in choices):
            return next((choice for choice in choices if str(choice) == value), value)
        if isinstance(value, bool) and (kind in _NUMBERS or set(get_args(kind)) & _NUMBERS):
            whole = kind is int or int in get_args(kind)
            raise PydanticKnownError("int_type" if whole else "float_type")
        return value


_NUMBERS = {int, float}


def _unique(values: Any) -> Any:
    if any(value in values[:place] for place, value in enumerate(values)):
        raise ValueError("no entry may occur twice")
    return values


# For lists, in Annotated.
UNIQUE = AfterValidator(_unique)


class Plugin(Settings):
    """A name with settings: a dataset, network, optimizer, measurement, … of a registry.

    A setting's default may never change: a run's key leaves out what is at its default. A setting
    that must be given has `examples`. `unkeyed` are words that change no number, such as a title.
    """

    name: ClassVar[str]
    unkeyed: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def example(cls) -> Self:
        """With the settings that must be given at their examples, the others at their defaults."""
        examples = {name: cls.model_fields[name].examples for name in requires(cls)}
        return cls(**{name: values[0] for name, values in examples.items() if values})

    def packages(self) -> Mapping[str, str]:
        """Packages that these settings need beyond eosflow's own, and the extra that has each."""
        return {}


def requires(plugin: type[Plugin]) -> list[str]:
    """The settings that must be given."""
    return [name for name, field in plugin.model_fields.items() if field.is_required()]


def record(plugin: Plugin) -> dict[str, Any]:
    """The plug-in as a JSON object: its `name`, then every setting."""
    return {"name": plugin.name, **{name: _plain(value) for name, value in plugin}}


def same(plugin: Plugin, stored: Any) -> bool:
    """Whether `stored`, settings of this kind from a record, are the plug-in's.

    A record from before a setting was added does not name it: it is at its default.
    """
    if not isinstance(stored, Mapping):
        return False
    fields = type(plugin).model_fields.items()
    missing = {name: _plain(f.default) for name, f in fields if not f.is_required()}
    return {"name": plugin.name, **missing, **stored} == record(plugin)


def changed_fields(plugin: Plugin) -> dict[str, Any]:
    """The plug-in's `name` and the settings that are not at their default."""
    fields = type(plugin).model_fields
    changed = {name: value for name, value in plugin if value != fields[name].default}
    return {"name": plugin.name, **{n: _plain(v, changed_fields) for n, v in changed.items()}}


def key_fields(plugin: Plugin) -> dict[str, Any]:
    """What a key is made of: `changed_fields` without those that change no number."""
    fields = changed_fields(plugin)
    return {name: value for name, value in fields.items() if name not in plugin.unkeyed}


def make(registry: Mapping[str, type[T]], name: str, settings: Mapping[str, Any]) -> T:
    """The plug-in `name` with these settings.

    Raises: KeyError for a name that is not in the registry, pydantic's ValidationError, which is a
    ValueError, for settings that are refused.
    """
    return registry[name].model_validate(dict(settings))


def from_record(registry: Mapping[str, type[T]], stored: Mapping[str, Any]) -> T:
    """The plug-in that `record` or `changed_fields` wrote. Raises: as `make`."""
    settings = dict(stored)
    return make(registry, settings.pop("name"), settings)


@functools.cache
def partial(kind: type[Settings]) -> type[Settings]:
    """The same settings, of which any may be left out, and none is compared with another."""
    fields: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        optional = copy.copy(field)
        if field.is_required():
            optional.default = None
        fields[name] = (field.rebuild_annotation(), optional)
    return create_model(kind.__name__, __base__=Settings, __doc__=kind.__doc__, **fields)


def _plain(value: Any, write: Callable[[Plugin], dict[str, Any]] | None = None) -> Any:
    """A value as JSON has it; plug-ins among settings as `write` puts them, by default whole."""
    if isinstance(value, Plugin):
        return (write or record)(value)
    return [_plain(each, write) for each in value] if isinstance(value, tuple) else value
