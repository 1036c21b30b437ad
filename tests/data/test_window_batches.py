import numpy as np
import pytest
import torch

from mscon.data.window_batches import WindowBatches
from mscon.errors import UserError

PIECES = np.repeat(np.arange(40), 25)


def batches(**change: object) -> WindowBatches:
    given = {"items": torch.arange(1000) + 5, "batch_size": 30, "seed": 3, "pieces": PIECES, "open": 6}
    return WindowBatches(**{**given, **change})


def test_an_epoch_is_every_item_once_but_for_the_rest() -> None:
    seen = torch.cat(list(batches().epoch(0)))
    assert len(seen) == 33 * 30 == len(seen.unique())
    assert set(seen.tolist()) <= set(range(5, 1005))


def test_an_epoch_depends_on_its_number_and_the_seed_alone_and_begins_anywhere() -> None:
    whole = list(batches().epoch(4))
    assert all(torch.equal(a, b) for a, b in zip(whole[20:], batches().epoch(4, start=20), strict=True))
    assert not torch.equal(whole[0], next(batches().epoch(5)))
    assert not torch.equal(whole[0], next(batches(seed=4).epoch(4)))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_ranks_share_the_items_and_hardly_a_piece(world: int) -> None:
    parts = [batches(rank=rank, world_size=world, batch_size=30) for rank in range(world)]
    seen = [torch.stack(list(part.epoch(1))) for part in parts]
    assert {each.shape for each in seen} == {(33, 30 // world)}
    assert len(torch.cat([each.flatten() for each in seen]).unique()) == 33 * 30
    pieces = [set(PIECES[each.flatten().numpy() - 5].tolist()) for each in seen]
    assert sum(map(len, pieces)) <= 40 + world - 1


def test_only_a_few_pieces_are_open_at_a_time() -> None:
    order = PIECES[torch.cat(list(batches().epoch(0))).numpy() - 5]
    # From its first to its last item, around the end of the epoch for the last ones: no more than w + 1 at once.
    open_at = np.zeros(len(order), dtype=int)
    for piece in np.unique(order):
        places = np.flatnonzero(order == piece)
        gaps = np.diff(places)
        if len(gaps) and gaps.max() > len(order) / 2:  # begins at the end and goes on from the beginning
            after = places[int(gaps.argmax()) + 1]
            open_at[: places[int(gaps.argmax())] + 1] += 1
            open_at[after:] += 1
        else:
            open_at[places[0] : places[-1] + 1] += 1
    assert open_at.max() <= 7 + 1  # the border of two pieces lies within a batch's time


def test_pairs_of_a_batch_are_of_one_piece_as_often_as_told() -> None:
    shares = []
    for epoch in range(5):
        for batch in batches().epoch(epoch):
            piece = PIECES[batch.numpy() - 5]
            same = (piece[:, None] == piece).sum() - len(piece)
            shares.append(same / (len(piece) * (len(piece) - 1)))
    assert np.mean(shares) == pytest.approx(1 / 6, rel=0.2)


def test_few_pieces_make_a_full_shuffle() -> None:
    order = torch.cat(list(batches(open=40).epoch(0))).numpy() - 5
    halves = [PIECES[order[:495]], PIECES[order[495:]]]
    assert all(len(np.unique(half)) == 40 for half in halves)


def test_a_batch_that_cannot_be_is_refused() -> None:
    with pytest.raises(UserError, match="A batch of 2000 needs as many items"):
        batches(batch_size=2000)
    with pytest.raises(UserError, match="cannot be shared equally by 4 processes"):
        batches(world_size=4)
