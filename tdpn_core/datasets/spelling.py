"""Spelling variants of a class name: case, Unicode form and spaces."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Mapping


def tidy(name: str) -> str:
    """Return a class name in Unicode's composed form (NFC), with single spaces and none at the ends."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def unify(met: Mapping[str, Collection[str]]) -> tuple[dict[str, str], list[str]]:
    """Return the class of each spelling, and notes on merged and similar names.

    Unicode forms and spaces are ignored. Case is significant if one split has both spellings (`a` and `A` of sign
    language); otherwise they are spellings of the same class.

    Args:
        met: splits in which each spelling occurs.
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
                f"classes {quoted} differ only in case and occur in the same split: they are read as separate classes"
            )
            continue
        notes.append(_note(sorted(several), several[0]))
        class_of |= {name: several[0] for form in several for name in forms[form]}
    return class_of, notes


def _note(spellings: list[str], name: str) -> str:
    return f"{', '.join(map(repr, spellings))} are spellings of one class, {name!r}"
