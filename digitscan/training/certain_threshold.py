"""The threshold for `ok` that some labelled pictures prove: that few rows above it are wrong, with a bound.

The most confident rows are tested, then more and more of them, each time whether the upper bound of their
wrong share (Clopper and Pearson 1934) is within the limit. The first test that fails ends the search. So the
chance that more are wrong than promised stays that of one test, 5 %, though many thresholds were looked at:
this is fixed sequence testing, see Angelopoulos et al. 2021, "Learn then Test". Which rows are tested
together depends on their confidences alone and never on which of them are wrong. Taking the lowest of all
thresholds that pass would break the promise in up to 15 % of the cases (10,000 rows, simulated).

It is sound to have fitted the temperature to the same pictures: it is one number, it changes no answer, and
hardly the order of the rows by their confidence, on which alone the tests depend.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from digitscan.evaluation.metrics import round_down

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONFIDENCE_LEVEL = 0.95
"""That of the upper bound of the wrong share, one-sided (Clopper and Pearson 1934)."""
FIRST_SHARE = 0.25
"""The least share of the rows that is tested, if it is enough for a proof.

Of many rows, a few may be wrong for a reason of their own, such as a wrong label, however sure the model is:
the first test must not fail by one of them.
"""


class CertainThreshold(NamedTuple):
    """The threshold, and what was proved of the rows from it on."""

    threshold: float
    """The confidence, with 4 decimals."""
    ok: int
    """The number of rows from that confidence on."""
    wrong: int
    """How many of these are wrong."""
    max_wrong: float
    """The upper bound of their wrong share, 0 to 1, with CONFIDENCE_LEVEL."""


def count_needed_rows(max_wrong: float) -> int:
    """Return how many rows, all of them right, prove that at most the share `max_wrong` is wrong.

    `max_wrong` is more than 0 and less than 1.

    >>> count_needed_rows(0.003), count_needed_rows(0.05)
    (998, 59)
    """
    return math.ceil(math.log(1.0 - CONFIDENCE_LEVEL) / math.log1p(-max_wrong))


def bound_wrong_share(wrong: int, total: int) -> float:
    """Return the upper bound of the wrong share, with CONFIDENCE_LEVEL, where `wrong` of `total` are."""
    from scipy.stats import beta

    return float(beta.ppf(CONFIDENCE_LEVEL, wrong + 1, total - wrong)) if wrong < total else 1.0


def fit_certain_threshold(
    confidences: NDArray[np.float64], is_wrong: NDArray[np.bool_], max_wrong: float
) -> CertainThreshold | None:
    """Return the lowest threshold of which some rows prove that at most `max_wrong` is wrong from it on.

    `confidences` (N,) are 0 to 1. `max_wrong` is more than 0 and less than 1. None if there is no proof.
    """
    import numpy as np

    # A threshold of 4 decimals does not tell those apart that are alike then.
    rounded = round_down(confidences)
    order = np.argsort(-rounded, kind="stable")
    rounded, wrong_counts = rounded[order], np.cumsum(is_wrong[order])
    allowed = count_allowed_wrong(len(rounded), max_wrong)
    best = None
    for count in list_tested_counts(rounded, allowed):
        wrong = int(wrong_counts[count - 1])
        if wrong > allowed[count]:
            break
        best = CertainThreshold(float(rounded[count - 1]), count, wrong, bound_wrong_share(wrong, count))
    return best


def count_allowed_wrong(total: int, max_wrong: float) -> NDArray[np.int64]:
    """Return how many of 0 to `total` rows, (total + 1,), may be wrong; -1 where none proves anything.

    With so many wrong or fewer, the upper bound of their share is within `max_wrong`.
    """
    import numpy as np
    from scipy.stats import binom

    totals = np.arange(total + 1)
    counts = binom.ppf(1.0 - CONFIDENCE_LEVEL, totals, max_wrong)
    counts -= binom.cdf(counts, totals, max_wrong) > 1.0 - CONFIDENCE_LEVEL
    allowed: NDArray[np.int64] = np.maximum(counts, -1).astype(np.int64)
    return allowed


def list_tested_counts(confidences: NDArray[Any], allowed: NDArray[np.int64]) -> Iterator[int]:
    """Yield how many of the most confident rows each test has: each allows one wrong row more.

    `confidences` (N,) fall; `allowed` (N + 1,) is what `count_allowed_wrong` returned. The last test has all
    rows. Those of rows in and out of a test differ, so that a threshold can tell them.
    """
    import numpy as np

    total = len(confidences)
    if allowed[-1] < 0:
        return
    increases = np.flatnonzero(np.diff(allowed, prepend=-1) > 0)
    previous = 0
    for count in [*increases[increases >= FIRST_SHARE * total].tolist(), total]:
        if count > previous:
            previous = int(np.searchsorted(-confidences, -confidences[count - 1], side="right"))
            yield previous
