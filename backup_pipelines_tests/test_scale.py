"""The simulation of docs/scale.md: what must hold of it, and that the page has its numbers."""

import json
from dataclasses import replace
from typing import Any

import pytest

from benchmarks import scale
from benchmarks.scale import GB, MB, PIECE_BYTES, TB, Costs, Site, pieces_of, simulate

COSTS = Costs(
    worker_per_gb=10.0,
    server_per_gb=5.0,
    worker_per_piece=0.01,
    server_per_piece=0.005,
    leader_per_piece=0.005,
    fixed=1.0,
)
SITE = Site(threads=8, server_cores=16, source_mb_per_second=10_000)


def measured() -> dict[str, Any]:
    """What the page is made of."""
    return json.loads(scale.NUMBERS.read_text())


@pytest.mark.parametrize("size", [PIECE_BYTES * 10, 1e12 / 7])
def test_pieces_are_the_table(size: float) -> None:
    """They add up to it, and none is larger than one is."""
    found = pieces_of(size)
    assert sum(found) == pytest.approx(size) and max(found) <= PIECE_BYTES


def test_the_bounds_of_a_simulation() -> None:
    """No sooner than what limits it allows, and little later where there are many pieces."""
    total = 100 * GB
    for site, rate in (
        # A core of a worker for each thread; the server's cores; its disks.
        (SITE, 8 * GB / 10.0),
        (replace(SITE, threads=64, server_cores=4), 4 * GB / 5.0),
        (replace(SITE, threads=64, source_mb_per_second=200), 200 * MB),
        (replace(SITE, shared_cores=2), 2 * GB / 15.0),
    ):
        seconds = simulate(pieces_of(total), COSTS, site)
        assert total / rate < seconds < 1.06 * total / rate + COSTS.fixed + 2 * 1.5


def test_the_leader_is_a_limit_too() -> None:
    """One that takes long for each piece gives them out no faster."""
    slow = replace(COSTS, leader_per_piece=0.5)
    count = len(pieces_of(100 * GB))
    assert simulate(pieces_of(100 * GB), slow, replace(SITE, threads=64)) > count * 0.5
    assert scale.limit_of(slow, replace(SITE, threads=64)) == "the leader"


def test_more_of_anything_is_never_slower() -> None:
    """Threads, cores and disks help until something else is the limit."""
    sizes = pieces_of(20 * GB)
    before = simulate(sizes, COSTS, Site(1, 1, 100))
    for site in (Site(2, 1, 100), Site(4, 4, 100), Site(16, 8, 500), Site(64, 32, 5_000)):
        now = simulate(sizes, COSTS, site)
        assert now <= before + 1e-6
        before = now


def test_one_piece_by_one_worker() -> None:
    """It takes what its bytes take, what a piece takes, and the backup around it."""
    seconds = simulate([0.1 * GB], COSTS, replace(SITE, threads=1, seconds_per_piece=2.0))
    each = COSTS.worker_per_piece + COSTS.server_per_piece
    # As much of the piece's cost as its worker needs for as many bytes.
    overhead = each * 10.0 / 15.0
    assert seconds == pytest.approx(1.0 + 0.005 + 2.0 + 1.0 + overhead)


def test_ten_terabytes_are_simulated_in_seconds() -> None:
    """As many pieces as that take ten times as long as a tenth of them."""
    one, ten = (simulate(pieces_of(size), COSTS, SITE) for size in (TB, 10 * TB))
    assert ten == pytest.approx(10 * one, rel=0.01)


def test_the_model_foretells_points_that_it_was_not_fitted_to() -> None:
    """The CPU time of a larger table in other pieces is within a fifth."""
    found = measured()
    costs = Costs(**found["costs"])
    unseen = [point for point in found["points"] if not point["fitted"]]
    assert len(unseen) >= 2
    for point in unseen:
        cpu, _ = scale.predicted(costs, point)
        assert cpu == pytest.approx(point["cpu"], rel=0.2)


def test_the_page_has_the_numbers() -> None:
    """The tables of the page are those of the measured costs."""
    text = scale.PAGE.read_text()
    assert scale.rendered(text, measured()) == text


def test_the_page_says_what_others_used() -> None:
    """Of the machine's cores, while the points were measured; also where nobody has measured it."""
    for others, said in (
        (0.1, "while others used 0.1 of them"),
        (None, "while something else ran"),
    ):
        assert said in scale.tables({**measured(), "others": others})["points"]
