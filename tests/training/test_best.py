from __future__ import annotations

from training.best import Best


def test_the_lowest_loss_is_the_best_and_an_equal_one_is_not() -> None:
    best = Best()
    for step, loss in ((10, 3.0), (20, 2.0), (30, 2.0), (40, 2.5)):
        best = best.after(step, loss)
    assert best == Best(20, 2.0, 2)


def test_records_give_it_back_up_to_a_step() -> None:
    records = [
        {"step": 5, "loss": 1.0},
        {"step": 10, "validation_loss": 3.0},
        {"step": 20, "validation_loss": 4.0},
        {"step": 30, "validation_loss": 1.0},
    ]
    assert Best.of(records, 20) == Best(10, 3.0, 1)
    assert Best.of(records, 30) == Best(30, 1.0, 0)
    assert Best.of([], 9) == Best()
