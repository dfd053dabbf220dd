"""Recipes: derive the settings of a run from a prepared data set.

`presets` has the named recipes and applies user changes, `auto_recipe` adapts to the data, `learning_rate` scales the
rate with the batch.
"""

from tdpn_core.recipes.auto_recipe import Facts, Pixels, finetune
from tdpn_core.recipes.learning_rate import describe_rate
from tdpn_core.recipes.presets import (
    NOTHING_KNOWN,
    RECIPES,
    Configured,
    Recipe,
    adjust,
    choose,
    class_counts,
    configure,
    epic55,
    epic100,
    find,
    kinetics400,
    set_fields,
    small,
    something_v1,
    something_v2,
    with_modality,
    with_model,
)

__all__ = [
    "NOTHING_KNOWN",
    "RECIPES",
    "Configured",
    "Facts",
    "Pixels",
    "Recipe",
    "adjust",
    "choose",
    "class_counts",
    "configure",
    "describe_rate",
    "epic55",
    "epic100",
    "find",
    "finetune",
    "kinetics400",
    "set_fields",
    "small",
    "something_v1",
    "something_v2",
    "with_modality",
    "with_model",
]
