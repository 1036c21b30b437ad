"""Brands out of the names of products, by how often names begin alike."""

import re
from collections import Counter
from collections.abc import Sequence

WHO = {
    *("men", "mens", "man", "women", "womens", "woman", "unisex"),
    *("boys", "boy", "girls", "girl", "kids", "kid", "infants"),
}
"""The word that ends a brand: whom the product is for."""

LONGEST = 4
"""A brand's words at most, as in United Colors of Benetton."""


def brands(names: Sequence[str | None], *, fewest: int) -> list[str | None]:
    """The brand of each product: the words of its name before the first that says whom it is for, in small letters
    and without punctuation, cut to the longest beginning (of up to 4 words) that at least `fewest` of all names have.

    `Red Tape Men Black Shoes` is `red tape` among many such, and `u.s. polo assn.` is `us polo assn`. `other` where
    even the first word is rarer; None where a name says nobody, or begins with it. What comes out is noisy: a line of
    products that is frequent enough counts as a brand.
    """
    heads = [_head(name) for name in names]
    counts = Counter(head[:length] for head in heads for length in range(1, len(head) + 1))
    return [_longest(head, counts, fewest) for head in heads]


def _head(name: str | None) -> tuple[str, ...]:
    words = re.sub(r"[^\w\s]", "", (name or "").lower()).split()
    ends = [place for place, word in enumerate(words) if word in WHO]
    return tuple(words[: ends[0]][:LONGEST]) if ends else ()


def _longest(head: tuple[str, ...], counts: Counter[tuple[str, ...]], fewest: int) -> str | None:
    if not head:
        return None
    lengths = [length for length in range(1, len(head) + 1) if counts[head[:length]] >= fewest]
    return " ".join(head[: lengths[-1]]) if lengths else "other"
