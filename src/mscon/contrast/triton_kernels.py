# pyright: basic, reportAttributeAccessIssue=false
"""push and its gradient on a GPU: one Triton kernel each, O(N·d) memory. No atomics: one cut gives the same bits every
time.

A program owns `ROWS` rows of one head and walks over all columns in blocks of `COLUMNS`. Blocks that hold no item
itself and no end of the head come first and carry no mask; the few others follow. In that order, masked blocks last,
the compiler keeps the matrix products asynchronous (masked first, ptxas serialises them: its note C7515).

A number is the sum of `LIMBS` bfloat16 numbers, and a product of two the sum of the limbs' products that matter: 1
product of bfloat16, 3 for two limbs (about 16 bits), 6 for three (float32's 24 bits). Tensor cores do them all and
accumulate in float32. Triton's own float32 product (input_precision "ieee") keeps whole rows in registers and spills
thousands of them per tile at d = 128, and its TF32 one passes z through registers in the second product, since only
16-bit operands can be read transposed from shared memory.

Names: *cosine* z_i·z_j, *slope* log₂e/τ or 1/τ, *narrow* log₂e/2h². Exponents are to the base 2, the only one that the
hardware has; with a running maximum (low temperatures, large exponents) only once the maximum is off, since a push of
200 has no digits to lose to another rounding.

These are read by Triton, not by Python: hence no type checks, and `pyright: basic`.
"""

from typing import no_type_check

import triton
import triton.language as tl


@triton.jit
@no_type_check
def push_kernel(
    z,
    values,
    push,
    sums,
    bounds,
    constants,
    WIDTH: tl.constexpr,
    LIMBS: tl.constexpr,
    RUNNING: tl.constexpr,
    KERNEL: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    STAGES: tl.constexpr,
):
    """push_i = log Σ_{j≠i} exp(z_i·z_j/τ) for the own rows of every head; with `KERNEL` also the sums over k_ij.

    - `z`: (rows, LIMBS, WIDTH) bfloat16, `values`: (rows,) float32; the heads one after the other.
    - `push`: (rows,) float32, `sums`: (rows, 3) float32: Σ_j k_ij, Σ_j k_ij z_i·z_j, Σ_j k_ij (v_i − v_j)².
    - `bounds`, `constants`: see `_head`. Grid: (row blocks of the longest range, heads).
    - `RUNNING`: subtract the running maximum of a row.
    """
    first, count, start, end, slope, narrow, _ = _head(bounds, constants, ROWS)
    if start >= end:
        return
    z += first * (LIMBS * WIDTH)
    values += first
    places, rows = _own_rows(start, end, ROWS)
    own = _tiles(z, start, rows - start, WIDTH, LIMBS)
    value = tl.load(values + rows) if KERNEL else 0.0
    total = tl.zeros((ROWS,), tl.float32)
    near, pulled, square = total, total, total
    # At first below every score, yet finite: −∞ less −∞ is no number.
    shift = total - 2.0 * slope if RUNNING else total
    low, skipped, plain, masked = _blocks(start, count, ROWS, COLUMNS)
    for k in tl.range(0, plain, num_stages=STAGES):
        block = (k + tl.where(k < low, 0, skipped)) * COLUMNS
        cosine = _cosines(own, _tiles(z, block, tl.arange(0, COLUMNS), WIDTH, LIMBS), LIMBS)
        total, shift = _add_exponentials(total, shift, cosine, slope, RUNNING)
        if KERNEL:
            gaps, kernel = _kernel(value, tl.load(values + block + tl.arange(0, COLUMNS)), narrow, cosine)
            near, pulled, square = _add_kernel(near, pulled, square, kernel, cosine, gaps)
    for k in tl.range(0, masked, num_stages=1):
        block = tl.where(k < skipped, low + k, plain + skipped) * COLUMNS
        columns = block + tl.arange(0, COLUMNS)
        others = (columns[None, :] < count) & (columns[None, :] != rows[:, None])
        cosine = _cosines(own, _tiles(z, block, tl.arange(0, COLUMNS), WIDTH, LIMBS), LIMBS)
        total, shift = _add_exponentials(total, shift, tl.where(others, cosine, float("-inf")), slope, RUNNING)
        if KERNEL:
            gaps, kernel = _kernel(value, tl.load(values + columns), narrow, cosine)
            kernel = tl.where(others, kernel, 0.0)
            near, pulled, square = _add_kernel(near, pulled, square, kernel, cosine, gaps)
    # log 0 is −∞ without asking the logarithm for it, which the interpreter would warn of.
    logs = tl.where(total > 0.0, shift + tl.log2(tl.where(total > 0.0, total, 1.0)) * LN2, float("-inf"))
    inside = places < end
    tl.store(push + first + places, logs, mask=inside)
    if KERNEL:
        places = sums + (first + places) * 3
        tl.store(places, near, mask=inside)
        tl.store(places + 1, pulled, mask=inside)
        tl.store(places + 2, square, mask=inside)


@triton.jit
@no_type_check
def gradient_kernel(
    z,
    a,
    u,
    b,
    values,
    unit,
    gradient,
    bounds,
    constants,
    WIDTH: tl.constexpr,
    LIMBS: tl.constexpr,
    RUNNING: tl.constexpr,
    KERNEL: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    STAGES: tl.constexpr,
):
    """gradient_i = (unit/τ) Σ_{j≠i} w_ij z_j, the weights w_ij recomputed from z in tiles.

        w_ij = exp(s_ij) (a_i + a_j)                                 a_i = u_i exp(−push_i)
        w_ij = exp(s_ij − push_i) u_i + exp(s_ij − push_j) u_j       RUNNING: every exponent ≤ 0; `a` holds push
        w_ij += k_ij (b_i + b_j)                                     KERNEL

    - `a`, `u`, `b`, `values`: (rows,) float32, `unit`: one float32, `gradient`: (rows, WIDTH) float32.
    - `z`, `bounds`, `constants` and the grid are `push_kernel`'s.
    """
    first, count, start, end, slope, narrow, inverse = _head(bounds, constants, ROWS)
    if start >= end:
        return
    z += first * (LIMBS * WIDTH)
    a += first
    u += first
    b += first
    values += first
    places, rows = _own_rows(start, end, ROWS)
    own = _tiles(z, start, rows - start, WIDTH, LIMBS)
    mine = _vectors(a, u, b, values, rows, RUNNING, KERNEL)
    total = tl.zeros((ROWS, WIDTH), tl.float32)
    low, skipped, plain, masked = _blocks(start, count, ROWS, COLUMNS)
    for k in tl.range(0, plain, num_stages=STAGES):
        block = (k + tl.where(k < low, 0, skipped)) * COLUMNS
        tiles = _tiles(z, block, tl.arange(0, COLUMNS), WIDTH, LIMBS)
        theirs = _vectors(a, u, b, values, block + tl.arange(0, COLUMNS), RUNNING, KERNEL)
        weights = _weights(_cosines(own, tiles, LIMBS), mine, theirs, slope, narrow, RUNNING, KERNEL)
        total = _add_weighted(total, weights, tiles, LIMBS)
    for k in tl.range(0, masked, num_stages=1):
        block = tl.where(k < skipped, low + k, plain + skipped) * COLUMNS
        columns = block + tl.arange(0, COLUMNS)
        others = (columns[None, :] < count) & (columns[None, :] != rows[:, None])
        tiles = _tiles(z, block, tl.arange(0, COLUMNS), WIDTH, LIMBS)
        theirs = _vectors(a, u, b, values, columns, RUNNING, KERNEL)
        # The mask goes in before the exponential: an item's own score may lie far above its push.
        cosine = tl.where(others, _cosines(own, tiles, LIMBS), float("-inf"))
        weights = _weights(cosine, mine, theirs, slope, narrow, RUNNING, KERNEL)
        if KERNEL:
            weights = tl.where(others, weights, 0.0)
        total = _add_weighted(total, weights, tiles, LIMBS)
    gradient += (first + places)[:, None] * WIDTH + tl.arange(0, WIDTH)[None, :]
    tl.store(gradient, total * (inverse * tl.load(unit)), mask=(places < end)[:, None])


LN2 = tl.constexpr(0.6931471805599453)
LOG2E = tl.constexpr(1.4426950408889634)
INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)


@triton.jit
@no_type_check
def _head(bounds, constants, ROWS: tl.constexpr):
    """This program's head: (first, count, begin, end) of int64 and (slope, narrow, 1/τ) of float32 per head.

    `first` counts from the first row of all (64 bits: times d it passes 2³¹), the others from the head's own first.
    """
    head = tl.program_id(1)
    first = tl.multiple_of(tl.load(bounds + head * 4), 128)
    count = tl.load(bounds + head * 4 + 1).to(tl.int32)
    start = tl.load(bounds + head * 4 + 2).to(tl.int32) + tl.program_id(0) * ROWS
    end = tl.load(bounds + head * 4 + 3).to(tl.int32)
    constants += head * 3
    return first, count, start, end, tl.load(constants), tl.load(constants + 1), tl.load(constants + 2)


@triton.jit
@no_type_check
def _blocks(start, count, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """Column blocks low … low + skipped meet the diagonal; the last is cut short if COLUMNS does not divide count."""
    whole = count // COLUMNS
    low = tl.minimum(start // COLUMNS, whole)
    skipped = tl.minimum((start + ROWS + COLUMNS - 1) // COLUMNS, whole) - low
    return low, skipped, whole - skipped, skipped + (count > whole * COLUMNS).to(tl.int32)


@triton.jit
@no_type_check
def _own_rows(start, end, ROWS: tl.constexpr):
    """ROWS places from `start` on, and the rows to compute there: beyond the end the last row again, never stored."""
    places = start + tl.arange(0, ROWS)
    return places, tl.minimum(places, end - 1)


@triton.jit
@no_type_check
def _tiles(z, start, offsets, WIDTH: tl.constexpr, LIMBS: tl.constexpr):
    """Rows start + offsets, one tile per limb. No mask: every head is padded with rows of zeros."""
    places = z + tl.cast(start, tl.int64) * (LIMBS * WIDTH)
    places += offsets[:, None] * (LIMBS * WIDTH) + tl.arange(0, WIDTH)[None, :]
    tiles = (tl.load(places),)
    if LIMBS >= 2:
        tiles += (tl.load(places + WIDTH),)
    if LIMBS == 3:
        tiles += (tl.load(places + 2 * WIDTH),)
    return tiles


@triton.jit
@no_type_check
def _cosines(own, tiles, LIMBS: tl.constexpr):
    """z_i·z_j from the limbs, the smallest terms first."""
    cosine = tl.zeros((own[0].shape[0], tiles[0].shape[0]), tl.float32)
    if LIMBS == 3:
        cosine = _add_product(cosine, own[2], tl.trans(tiles[0]))
        cosine = _add_product(cosine, own[1], tl.trans(tiles[1]))
        cosine = _add_product(cosine, own[0], tl.trans(tiles[2]))
    if LIMBS >= 2:
        cosine = _add_product(cosine, own[1], tl.trans(tiles[0]))
        cosine = _add_product(cosine, own[0], tl.trans(tiles[1]))
    return _add_product(cosine, own[0], tl.trans(tiles[0]))


@triton.jit
@no_type_check
def _add_weighted(total, weights, tiles, LIMBS: tl.constexpr):
    """total + weights·z, the weights cut into limbs like z."""
    high = weights.to(tl.bfloat16)
    if LIMBS >= 2:
        rest = weights - high.to(tl.float32)
        middle = rest.to(tl.bfloat16)
        if LIMBS == 3:
            low = (rest - middle.to(tl.float32)).to(tl.bfloat16)
            total = _add_product(total, low, tiles[0])
            total = _add_product(total, middle, tiles[1])
            total = _add_product(total, high, tiles[2])
        total = _add_product(total, middle, tiles[0])
        total = _add_product(total, high, tiles[1])
    return _add_product(total, high, tiles[0])


@triton.jit
@no_type_check
def _add_product(total, left, right):
    if INTERPRETED:  # the interpreter multiplies the bit patterns of bfloat16; float32 holds their products exactly
        left, right = left.to(tl.float32), right.to(tl.float32)
    return tl.dot(left, right, total)


@triton.jit
@no_type_check
def _add_exponentials(total, shift, cosine, slope, RUNNING: tl.constexpr):
    if RUNNING:
        risen = tl.maximum(shift, tl.max(cosine, 1) * slope)
        weights = tl.exp2(tl.fma(cosine, slope, -risen[:, None]) * LOG2E)
        total = total * tl.exp2((shift - risen) * LOG2E) + tl.sum(weights, 1)
        shift = risen
    else:
        total += tl.sum(tl.exp2(cosine * slope), 1)
    return total, shift


@triton.jit
@no_type_check
def _kernel(value, values, narrow, cosine):
    """(v_i − v_j)² and exp(−(v_i − v_j)²/2h²). Adding zero times the cosine ties them to the matrix product's layout:
    else the compiler sums them in a layout of its own, at three times the instructions.
    """
    gaps = tl.fma(cosine, 0.0, value[:, None]) - values[None, :]
    gaps *= gaps
    return gaps, tl.exp2(gaps * -narrow)


@triton.jit
@no_type_check
def _add_kernel(near, pulled, square, kernel, cosine, gaps):
    return near + tl.sum(kernel, 1), pulled + tl.sum(kernel * cosine, 1), square + tl.sum(kernel * gaps, 1)


@triton.jit
@no_type_check
def _vectors(a, u, b, values, rows, RUNNING: tl.constexpr, KERNEL: tl.constexpr):
    """a, u, b and values of these rows; u and b are a where no one reads them."""
    mass = tl.load(a + rows)
    share, pull, value = mass, mass, mass
    if RUNNING:
        share = tl.load(u + rows)
    if KERNEL:
        pull, value = tl.load(b + rows), tl.load(values + rows)
    return mass, share, pull, value


@triton.jit
@no_type_check
def _weights(cosine, mine, theirs, slope, narrow, RUNNING: tl.constexpr, KERNEL: tl.constexpr):
    if RUNNING:
        weights = tl.exp2(tl.fma(cosine, slope, -mine[0][:, None]) * LOG2E) * mine[1][:, None]
        weights += tl.exp2(tl.fma(cosine, slope, -theirs[0][None, :]) * LOG2E) * theirs[1][None, :]
    else:
        weights = tl.exp2(cosine * slope) * (mine[0][:, None] + theirs[0][None, :])
    if KERNEL:
        gaps = mine[3][:, None] - theirs[3][None, :]
        weights += tl.exp2(gaps * gaps * -narrow) * (mine[2][:, None] + theirs[2][None, :])
    return weights
