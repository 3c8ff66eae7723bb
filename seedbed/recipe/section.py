"""Sections of a recipe: frozen, strict, and where said so with limits that can be switched off."""

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator, model_validator


class Section(BaseModel):
    # a number where text is asked: `size = 5_000_000`, `name = 7`
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def switches_alone_are_true_or_false(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse `steps = true`, which would be one step."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and bool not in (annotation, *get_args(annotation)):
            raise ValueError("not a switch that is true or false")
        return value


class SwitchedSection(Section):
    """A section whose limits can be switched off."""

    @model_validator(mode="before")
    @classmethod
    def none_is_off(cls, values: Any) -> Any:
        """TOML has no null: the word "none" stands for it (except for `unicode_form`, where it is a value)."""
        if not isinstance(values, dict):
            return values
        return {k: None if v == "none" and k != "unicode_form" else v for k, v in values.items()}
