"""Settings classes: frozen dataclasses with fields validated by pydantic, and errors for invalid values."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar, Self, TypeVar, cast, dataclass_transform

from pydantic import AfterValidator, ConfigDict, Field, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic.dataclasses import dataclass as pydantic_dataclass

from tdpn_core.errors import ConfigError

_Settings = TypeVar("_Settings")
_Rising = TypeVar("_Rising", bound=tuple[float, ...])


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(dataclasses.field, Field))
def settings_class(cls: type[_Settings]) -> type[_Settings]:
    """Make a subclass of `Settings` a frozen dataclass that validates its fields and refuses unknown ones."""
    return cast(type[_Settings], pydantic_dataclass(cls, frozen=True, kw_only=True, config=ConfigDict(extra="forbid")))


@settings_class
class Settings:
    """Base of all settings: an invalid value is a ConfigError that names the setting by its path, as in `--set`.

    Checks on several fields belong in `__post_init__`, which raises ConfigError.
    """

    section: ClassVar[str] = ""
    """First part of the path of every field; empty if the fields are the sections."""

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_by_path(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(values)
        except ValidationError as error:
            raise cls._refusal(error) from error

    @classmethod
    def _refusal(cls, error: ValidationError) -> ConfigError:
        return refusal(error, cls.section)


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("must be odd")
    return value


def _rising(values: _Rising) -> _Rising:
    if list(values) != sorted(values):
        raise ValueError("must be in rising order")
    return values


Count = Annotated[int, Field(ge=1)]
"""An integer of at least 1."""

NotNegative = Annotated[int, Field(ge=0)]
"""An integer of at least 0."""

Odd = Annotated[int, Field(ge=1), AfterValidator(_odd)]

Share = Annotated[float, Field(ge=0, le=1)]
"""A number in [0, 1]."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A finite number above 0."""

Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A finite number of at least 0."""

AreaRange = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1)], Annotated[float, Field(gt=0, le=1)]], AfterValidator(_rising)
]
"""Two ascending shares of an area in (0, 1]."""

RatioRange = Annotated[tuple[Positive, Positive], AfterValidator(_rising)]
"""Two ascending positive numbers."""

CountRange = Annotated[tuple[Count, Count], AfterValidator(_rising)]
"""Two ascending integers of at least 1."""

_PLAIN = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "finite_number": "must be a finite number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be {expected}",
    "missing": "is missing",
    "string_type": "must be text",
    "too_long": "has {actual_length} entries, more than {max_length}",
    "too_short": "has {actual_length} entries, fewer than {min_length}",
    "unexpected_keyword_argument": "there is no such setting",
}
"""Our messages for pydantic's error types; others keep pydantic's text."""

_VALUELESS = ("missing", "unexpected_keyword_argument")


def refusal(error: ValidationError, section: str) -> ConfigError:
    """Return the error for a value that pydantic refused, with its path below `section` (empty: from the top)."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in (section, *first["loc"]) if part != "")
    plain = _PLAIN.get(first["type"])
    what = plain.format(**first.get("ctx", {})) if plain else first["msg"].removeprefix("Value error, ")
    shown = first["type"] not in _VALUELESS and isinstance(first["input"], (str, int, float, tuple, list, type(None)))
    return ConfigError(f"{what}, not {first['input']!r}" if shown else what, where=place)
