"""The shape of representations: how alike two are, how many directions one uses, how evenly it is spread."""

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor

# Of the mean squared length: what float32 leaves of no variance at all is far below, any use of a direction above.
STILL = 1e-10
# Pairs whose distances are held at a time: 32 MiB.
CHUNK = 2**23


def linear_cka(x: Float[Tensor, "n a"], y: Float[Tensor, "n b"]) -> float:
    """How alike two representations of the same items are, up to rotation, shift and scale.

        CKA = HSIC(X, Y) / √(HSIC(X, X) HSIC(Y, Y)),    HSIC the unbiased estimate from these items

    In [0, 1]: 1 when one is the other turned, about 0 when they have nothing to do with each other, however few items
    there are: the estimate from all items as if they were the whole (Kornblith et al. 2019, arXiv 1905.00414) is 0.85
    for 24 of independent directions in 128 dimensions. What comes out below 0, as half of such do, is 0. NaN with fewer
    than four items, or when one representation tells no two of them apart any better than any other two.

    Source: Nguyen, Raghu & Kornblith 2021, *Do Wide and Deep Networks Learn the Same Things?* (arXiv 2010.15327),
    with the estimate of Song et al. 2012, *Feature Selection via Dependence Maximization* (HSIC₁).
    """
    if len(x) < 4:
        return math.nan
    x, y = _centred(x), _centred(y)
    between, own, others = _hsic(x, y), _hsic(x, x), _hsic(y, y)
    known = own > STILL * (x.T @ x).square().sum() and others > STILL * (y.T @ y).square().sum()
    return float((between / (own * others).sqrt()).clamp(0, 1)) if known else math.nan


def _hsic(x: Float[Tensor, "n a"], y: Float[Tensor, "n b"]) -> Float[Tensor, ""]:
    """n (n − 3) times the unbiased estimate of Song et al., of linear kernels and centred columns.

        ‖XᵀY‖² − n/(n − 2) Σ_i a_i b_i + Σ_i a_i Σ_i b_i / ((n − 1)(n − 2)),    a_i = ‖x_i‖², b_i = ‖y_i‖²

    Memory is a × b, never n × n: the rows of a centred kernel add up to 0, so of the kernels without their diagonals no
    more than the diagonals is needed.
    """
    n, a, b = len(x), x.square().sum(1), y.square().sum(1)
    return (x.T @ y).square().sum() - n / (n - 2) * (a @ b) + a.sum() * b.sum() / ((n - 1) * (n - 2))


def effective_rank(x: Float[Tensor, "n d"]) -> float:
    """How many directions the items are spread over: exp of the entropy of the covariance's eigenvalues λ.

        exp(−Σ_k p_k log p_k),   p = λ / Σ λ        from 1 to min(n − 1, d); 0 when all items are the same point

    Source: Roy & Vetterli 2007, *The effective rank: a measure of effective dimensionality* (there of singular values,
    here of their squares: shares of the variance).
    """
    variances = torch.linalg.svdvals(_centred(x)).square()
    if not variances.sum() > 0:
        return 0.0
    shares = variances / variances.sum()
    return float(torch.special.entr(shares).sum().exp())


def uniformity(z: Float[Tensor, "n d"]) -> float:
    """How evenly the items' directions are spread over the sphere: the lower, the more evenly.

        log mean_{i≠j} exp(−2 ‖z_i − z_j‖²)        rows of unit length

    0 when all directions are the same; about −4 + 8/d for d ≥ 30 when they are drawn evenly. C tight clusters at right
    angles that hold shares p of the items come to about log Σ p². Rows are normalised here. NaN with fewer than two.

    Source: Wang & Isola 2020, *Understanding Contrastive Representation Learning through Alignment and Uniformity on
    the Hypersphere* (arXiv 2005.10242), with their t = 2.
    """
    n = len(z)
    if n < 2:
        return math.nan
    z = torch.nn.functional.normalize(z.double(), dim=1)
    # ‖z_i − z_j‖² = 2 − 2 z_i·z_j; an item's pair with itself adds exp(0) and is taken out again.
    sums = [(4 * (rows @ z.T) - 4).exp().sum() for rows in z.split(max(1, CHUNK // (8 * n)))]
    own = (4 * z.square().sum(1) - 4).exp().sum()
    return float(((torch.stack(sums).sum() - own) / (n * (n - 1))).log())


def cosines(products: Float64[Tensor, "c c"]) -> Float64[Tensor, "c c"]:
    """The cosine of every two vectors from their inner products; NaN with a vector of zeros.

    Of gradients, 1: the same change helps both; 0: they do not touch; −1: what helps one harms the other as much. The
    losses' weights, being positive factors, change nothing.
    """
    lengths = products.diag().clamp(min=0).sqrt()
    return (products / torch.outer(lengths, lengths)).clamp(-1, 1)


def _centred(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """The rows around their mean in float64; zeros where only rounding is left."""
    x = x.double()
    around = x - x.mean(0)
    return around if around.square().sum() > STILL * x.square().sum() else torch.zeros_like(around)
