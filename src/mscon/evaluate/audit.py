"""Which labels disagree with what the other items say: scores out of fold, on vectors that the run learned."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int, Int64
from torch import Tensor

from mscon.data.circle import shorter_way
from mscon.data.information import labelled
from mscon.data.splits import Split
from mscon.errors import UserError
from mscon.evaluate.logistic import fit_logistic
from mscon.evaluate.ridge import probe_continuous
from mscon.evaluate.spectrum import Spectrum

FOLDS = 5
STRENGTHS = (1e-1, 3e-2, 1e-2)

TOLERANCE, MAX_ITERATIONS = 1e-4, 60
"""Ranks need less exact fits than the accuracies of the probe table."""

LABEL_FREE_WEIGHT = 0.5
"""The pictures' colours and the projections see the same picture: as full, independent evidence they would count twice.
"""

NORMAL_SPREAD = 1.4826
"""From median absolute deviation to standard deviation, for normal residuals."""

LARGEST = 2**27
"""Items × classes that are audited at most: a table of chances is then 1 GiB, and there are a few of them."""

FAR = 0.75
"""The score of a number that is three spreads away from what the others say."""


@dataclass(frozen=True, eq=False)
class Audited:
    """One label column's audit.

    - `rows`: the judged items: those with a label that at least one training fold of theirs knows.
    - `given`, `suggested`: their label and what the others say; codes, or numbers for a continuous column.
    - `score`: in [0, 1], 1 for a label that is surely wrong.
    - `noise`: for categories the estimated share of wrong labels (`noise_rate`), for numbers None.
    """

    rows: Int64[np.ndarray, " m"]
    given: Int64[np.ndarray, " m"] | Float64[np.ndarray, " m"]
    suggested: Int64[np.ndarray, " m"] | Float64[np.ndarray, " m"]
    score: Float64[np.ndarray, " m"]
    noise: float | None

    @property
    def order(self) -> Int64[np.ndarray, " m"]:
        """Places in `rows`, the highest score first, the lower row among equals."""
        return np.lexsort((self.rows, -self.score))

    def ranked(self) -> Int64[np.ndarray, " r"]:
        """Those of `order` whose label and suggestion differ.

        A number never is what was predicted: it differs if it is three spreads or more away.
        """
        differs = self.score >= FAR if self.noise is None else self.given != self.suggested
        return self.order[differs[self.order]]


def audit_categorical(
    projections: Float[Tensor, "n d"],
    label_free: Float[Tensor, "n e"] | None,
    codes: Int[np.ndarray, " n"],
    *,
    implied: Bool[np.ndarray, "c c"] | None = None,
    groups: Int[np.ndarray, " n"] | None = None,
    seed: int = 0,
) -> Audited:
    """Scores every label of a categorical column by the chance that it is wrong.

        p_i ∝ p(projections) · (p(label-free) / prior)^½          both out of fold
        score_i = ν (1 − p_i[y]) / (ν (1 − p_i[y]) + (1 − ε) p_i[y]),     ν = ε / (k − 1)

    ε is `noise_rate`; a wrong label is taken to be any of the k − 1 other classes alike. Within one column the score
    ranks as 1 − p_i[y] does. A label-free space that knows nothing of the column leaves p as it was.

    **Arguments:**

    - `projections`: one row per item; the run has seen the labels, so they may hold a memory of wrong ones.
    - `label_free`: features that no label has touched, or None to do without.
    - `codes`: −1 where the label is missing; such an item has no influence.
    - `implied`: `[a, b]`, whether class a is right where b is, as a path is of which another one is the continuation:
      p[a] is then the chance of all those b, and no b among them is suggested in place of a. Left out, classes exclude
      one another.
    - `groups`: near-duplicates share a code and never straddle folds; None makes every item a group of its own.
    - `seed`: of the folds.

    **Raises:** `UserError` for fewer labelled groups than folds, fewer than two classes, none that is in two folds, or
    more items times classes than `LARGEST`.
    """
    rows = np.flatnonzero(labelled(codes))
    classes, dense = np.unique(codes[rows], return_inverse=True)
    if len(classes) < 2:
        raise UserError("A label needs at least two classes to be audited: with one, no other could be suggested.")
    fold = folds(rows, groups, seed)
    # A class that stands in one fold alone is unknown to the model that judges it: nobody can say.
    in_folds = np.zeros((len(classes), FOLDS), dtype=bool)
    in_folds[dense, fold] = True
    known = (in_folds.sum(axis=1) > 1)[dense]
    if not known.any():
        raise UserError("An audit asks the other items, and no class here has two items (of different groups).")
    rows, fold = rows[known], fold[known]
    classes, dense = np.unique(codes[rows], return_inverse=True)
    if len(classes) < 2:
        raise UserError(
            "An audit compares classes, and here one alone has items (of different groups) in two of the parts."
        )
    if len(rows) * len(classes) > LARGEST:
        raise UserError(
            f"{len(rows):,} items of {len(classes):,} classes are more than an audit holds: items times classes may be"
            f" {LARGEST:,}. Audit a part of the catalog, or a label of fewer classes."
        )
    p = out_of_fold(projections, rows, dense, fold)
    if label_free is not None:
        p = pool(p, out_of_fold(label_free, rows, dense, fold), np.bincount(dense) / len(dense))
    right = np.eye(len(classes), dtype=bool) if implied is None else implied[np.ix_(classes, classes)]
    suggested = p.argmax(1)
    suggested = np.where(right[dense, suggested], dense, suggested)
    p = p if implied is None else p @ right.T
    noise = noise_rate(p, dense, right)
    return Audited(
        rows=rows,
        given=classes[dense].astype(np.int64),
        suggested=classes[suggested].astype(np.int64),
        score=wrong(p, dense, noise),
        noise=noise,
    )


def audit_continuous(
    features: Float[Tensor, "n d"],
    values: Float64[np.ndarray, " n"],
    *,
    period: float | None = None,
    groups: Int[np.ndarray, " n"] | None = None,
    seed: int = 0,
) -> Audited:
    """Scores every number of a column by its out-of-fold ridge residual in units of its robust spread.

        u_i = |r_i − median(r)| / (1.4826 · median |r − median(r)|)          score_i = u_i / (1 + u_i)

    So 0.75 is three spreads away. On a circle r is taken the shorter way round, as are its distances from the median.
    When more than half of the residuals are equal, the spread is 0: an item away from the median scores 1, one on it 0.

    **Arguments:** as for `audit_categorical`; `values` are NaN where missing, `period` is P of those on a circle.

    **Raises:** `UserError` for fewer labelled groups than folds.
    """
    rows = np.flatnonzero(labelled(values))
    fold = folds(rows, groups, seed)
    predicted, periods = np.empty(len(rows)), {} if period is None else {"": period}
    for each in range(FOLDS):
        # One more fold is kept apart, to choose the strength on.
        inner = fold == (each + 1) % FOLDS
        split = Split(rows[~inner & (fold != each)], rows[inner], rows[fold == each])
        predicted[fold == each] = probe_continuous(features, {"": values}, split, periods=periods)[""].predicted
    residual = shorter_way(values[rows] - predicted, period)
    away = np.abs(shorter_way(residual - np.median(residual), period))
    spread = NORMAL_SPREAD * np.median(away)
    # u / (1 + u) with u = away / spread, defined for a spread of 0 too.
    score = np.divide(away, spread + away, out=np.zeros_like(away), where=away > 0)
    return Audited(rows, values[rows], predicted, score, noise=None)


def out_of_fold(
    features: Float[Tensor, "n d"],
    rows: Int64[np.ndarray, " m"],
    codes: Int64[np.ndarray, " m"],
    fold: Int64[np.ndarray, " m"],
) -> Float64[np.ndarray, "m k"]:
    """Each item's class probabilities by a logistic probe fitted on the other folds.

    Its strength is the one with the highest log-likelihood on one of those other folds when it is fitted on the rest;
    then it is fitted again on all of them. No label of a fold has any part in what is said of the fold. Of two folds
    there is no rest: then it is the middle strength.

    **Arguments:** `rows`, `codes`, `fold`: the labelled rows of `features`, their classes from 0 on without gaps, and
    their folds, two or more.

    **Returns:** rows that sum to 1; a class that the other folds do not have gets 0.
    """
    probabilities = np.zeros((len(rows), int(codes.max()) + 1))
    there = np.unique(fold)  # rows that are not judged may have had a fold to themselves
    for each, other in zip(there, np.roll(there, -1), strict=True):
        outside, asked, inner = fold != each, fold == each, fold == other
        best = STRENGTHS[len(STRENGTHS) // 2]
        if len(there) > 2:
            tried = _predict(features, rows, codes, train=outside & ~inner, asked=inner, strengths=STRENGTHS)
            # A class that the inner rows alone have must not decide: the floor bounds its cost, the same for all.
            likelihoods = [np.log(np.maximum(p[np.arange(len(p)), codes[inner]], 1e-6)).mean() for p in tried]
            best = STRENGTHS[int(np.argmax(likelihoods))]
        (probabilities[asked],) = _predict(features, rows, codes, train=outside, asked=asked, strengths=[best])
    return probabilities


def pool(
    p: Float64[np.ndarray, "m k"], label_free: Float64[np.ndarray, "m k"], prior: Float64[np.ndarray, " k"]
) -> Float64[np.ndarray, "m k"]:
    """Two opinions as one: p · (label_free / prior)^½, rows summing to 1. Where label_free = prior, p is unchanged."""
    pooled = p * (label_free / prior) ** LABEL_FREE_WEIGHT
    total = pooled.sum(1, keepdims=True)
    # Every class may be unknown to one side where the other knows it: then p alone speaks.
    return np.where(total > 0, pooled / np.where(total > 0, total, 1), p)


def noise_rate(
    p: Float64[np.ndarray, "m k"], codes: Int64[np.ndarray, " m"], right: Bool[np.ndarray, "k k"] | None = None
) -> float:
    """The estimated share of wrong labels; too high a one where p knows little.

        t_i = share of the items of which y_i is not right whose p[y_i] exceeds p_i[y_i]          ε = 2 · share(t_i > ½)

    Of a wrong label t is uniform, if any other class may stand there; of a right one it is near 0, where the model
    knows anything: so what lies above ½ is half of the wrong ones. (A label given at random may be right by luck.)
    Right labels that it cannot tell from wrong ones lie above ½ as well, so that ε is then too high.
    `right`: `[a, b]`, whether a is right of an item labelled b; left out, where they are the same.

    Source: Storey, *A Direct Approach to False Discovery Rates*, 2002 (π₀ with λ = ½).
    """
    right = np.eye(p.shape[1], dtype=bool) if right is None else right
    tail = np.zeros(len(codes))
    for code in np.unique(codes):
        own, others = codes == code, np.sort(p[~right[code, codes], code])
        if len(others):
            tail[own] = 1 - np.searchsorted(others, p[own, code], side="right") / len(others)
    # Half an item more: a rate of exactly 0 would make every score 0 and lose the order.
    return float(min(0.9, 2 * ((tail > 0.5).sum() + 0.5) / (len(codes) + 1)))


def wrong(p: Float64[np.ndarray, "m k"], codes: Int64[np.ndarray, " m"], noise: float) -> Float64[np.ndarray, " m"]:
    """The chance that each label is wrong, by Bayes' rule; see `audit_categorical` for the formula."""
    given = p[np.arange(len(codes)), codes].clip(max=1)
    random = noise / max(1, p.shape[1] - 1) * (1 - given)
    return random / (random + (1 - noise) * given)


def folds(rows: Int64[np.ndarray, " m"], groups: Int[np.ndarray, " n"] | None, seed: int) -> Int64[np.ndarray, " m"]:
    """Each labelled row's fold, whole groups dealt out at random. **Raises** `UserError` for too few groups."""
    owners, owner = np.unique(rows if groups is None else groups[rows], return_inverse=True)
    if len(owners) < FOLDS:
        raise UserError(
            f"An audit deals the groups of labelled items out to {FOLDS} parts, and there are only {len(owners)}: "
            "label more items, or leave this label out."
        )
    return (np.random.default_rng(seed).permutation(len(owners)) % FOLDS)[owner].astype(np.int64)


def _predict(
    features: Float[Tensor, "n d"],
    rows: Int64[np.ndarray, " m"],
    codes: Int64[np.ndarray, " m"],
    *,
    train: np.ndarray,
    asked: np.ndarray,
    strengths: Sequence[float],
) -> list[Float64[np.ndarray, "a k"]]:
    """Probabilities of some rows per strength, by probes fitted on others."""
    classes, dense = np.unique(codes[train], return_inverse=True)
    spectrum = Spectrum.of(features, rows[train])
    (fit,) = fit_logistic(
        spectrum.project(features, rows[train]),
        torch.from_numpy(dense[None]).to(features.device),
        strengths=strengths,
        variances=spectrum.variances,
        tolerance=TOLERANCE,
        max_iterations=MAX_ITERATIONS,
    )
    unseen, found = spectrum.project(features, rows[asked]), []
    for strength in range(len(strengths)):
        p = np.zeros((int(asked.sum()), int(codes.max()) + 1))
        p[:, classes] = fit.logits(unseen, strength).double().softmax(1).cpu().numpy()
        found.append(p)
    return found
