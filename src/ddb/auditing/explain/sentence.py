"""One sentence on why an image is predicted as it is."""

from __future__ import annotations

from ddb.auditing.explain.record import Contributions, Twins


def sentence(
    predicted: tuple[str, float],
    phrase: str,
    around: Twins | None,
    thing: Twins | None,
    named: str,
    contributions: Contributions | None,
) -> str:
    """`predicted`: class and probability; `around`, `thing`: the twins with other surroundings and with another object;
    `named`: the discovered group of the image's surroundings, "". A part is the reason where exchanging it changes the
    prediction for half of the donors or more."""
    head = f"Calls this {_class(predicted[0])} ({predicted[1]:.2f})"
    if around is None or thing is None:
        return f"{head}{_integrated(contributions, phrase)}."
    by_surroundings, by_object = 2 * around.changed >= around.count, 2 * thing.changed >= thing.count
    where = f"the surroundings ({named})" if named else "the surroundings"
    still = " still" if around.predicted == predicted[0] else ""
    other = f"with the same {phrase} in {_surroundings(around)} it{still} says {_said(around)}"
    swapped = f"with the {phrase} of {_image(thing.donor)} in the same surroundings it says {_said(thing)}"
    if by_surroundings and by_object:
        return f"{head} because of the {phrase} and {where} together: {other}, and {swapped}."
    if by_surroundings:
        return f"{head} because of {where}: {other}."
    if by_object:
        return f"{head} because of the {phrase}: {swapped}; {other}."
    return f"{head} whichever part is exchanged: {other}, and {swapped}."


def _integrated(found: Contributions | None, phrase: str) -> str:
    if found is None:
        return f"; no {phrase} was found in it, so its parts cannot be told apart"
    share = found.surroundings_share
    if share is None:
        return f"; {found.method} gives neither the {phrase} nor its surroundings any weight"
    reason = "the surroundings" if share > 0.5 else f"the {phrase}"
    return (
        f" because of {reason}: {share:.0%} of the evidence lies outside the {phrase} ({found.method}; composites "
        "could not be made)"
    )


def _said(twins: Twins) -> str:
    return f"{twins.predicted} ({twins.probability:.2f}, {twins.times} of {twins.count} times)"


def _surroundings(twins: Twins) -> str:
    named = f" ({twins.surroundings})" if twins.surroundings else ""
    return f"surroundings of {twins.donor} images{named}"


def _image(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name} image"


def _class(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
