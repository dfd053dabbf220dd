"""Spellings of one class: the same name in another case, another Unicode form or with other blanks."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping


def tidy(name: str) -> str:
    """A class name in Unicode's composed form (NFC), with single blanks and none around it."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def unify(met: Mapping[str, Collection[str]]) -> tuple[dict[str, str], list[str]]:
    """The class of each spelling, and notes on what was merged or only looks alike.

    Unicode forms and blanks never tell classes apart. Case does where one split has both spellings (`a` and `A` of
    sign language); otherwise it is taken for another spelling of the same class.

    Args:
        met: the splits that each spelling occurs in.
    """
    notes: list[str] = []
    class_of = {name: tidy(name) for name in met}
    forms: dict[str, list[str]] = {}
    for name in sorted(met):
        forms.setdefault(class_of[name], []).append(name)
    notes += [_note(spellings, form) for form, spellings in forms.items() if len(spellings) > 1]
    splits = {form: {split for name in spellings for split in met[name]} for form, spellings in forms.items()}
    alike: dict[str, list[str]] = {}
    for form in sorted(forms, key=lambda form: ("train" not in splits[form], form)):
        alike.setdefault(form.casefold(), []).append(form)
    for several in alike.values():
        if len(several) == 1:
            continue
        if sum(len(splits[form]) for form in several) > len(set().union(*(splits[form] for form in several))):
            quoted = ", ".join(map(repr, sorted(several)))
            notes.append(
                f"classes {quoted} differ in case only and are in one split: they are read as separate classes"
            )
            continue
        notes.append(_note(sorted(several), several[0]))
        class_of |= {name: several[0] for form in several for name in forms[form]}
    return class_of, notes


def _note(spellings: list[str], name: str) -> str:
    return f"{', '.join(map(repr, spellings))} are spellings of one class, {name!r}"
