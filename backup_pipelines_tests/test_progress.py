"""How far long work is: the arithmetic, and how much is said of it."""

import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup_pipelines.exporting.export import expected
from backup_pipelines.pace import Amount, Pace
from backup_pipelines.postgres.introspect import LiveTable
from backup_pipelines.progress import Meter, Tally, sparse, watched
from backup_pipelines_tests.bare_table import bare_table

_DAY = 86_400.0

AMOUNTS = st.builds(Amount, st.integers(0, 10**9), st.integers(0, 10**12))
STEPS = st.lists(st.tuples(AMOUNTS, st.floats(0, 1000)), max_size=40)


class Clock:
    """Time as a test makes it pass."""

    def __init__(self) -> None:
        self.now = 5.0

    def __call__(self) -> float:
        return self.now


@given(total=AMOUNTS, exact=st.booleans(), already=AMOUNTS, steps=STEPS)
def test_a_share_only_grows_and_is_never_above_all(
    total: Amount, exact: bool, already: Amount, steps: list[tuple[Amount, float]]
) -> None:
    """Whatever the estimate, and however often more turns out to be left."""
    now = 0.0
    pace = Pace(total, now, exact=exact, already=already)
    last = pace.share or 0.0
    for number, (amount, seconds) in enumerate(steps):
        now += seconds
        if number % 3 == 2:
            pace.expect(amount)
        pace.add(amount)
        share, left = pace.share or 0.0, pace.seconds_left(now)
        assert last <= share <= 1
        assert exact or share < 1
        assert left is None or left >= 0
        assert f"{int(100 * share)} %" in pace.in_words(now) or pace.share is None
        last = share
    pace.finish()
    assert (pace.share, pace.seconds_left(now)) == (1, None)
    assert pace.in_words(now).startswith("100 %")


@given(
    parts=st.lists(st.integers(1, 10**6), min_size=10, max_size=100),
    rate=st.floats(0.1, 10**6),
)
def test_at_an_even_speed_the_time_that_is_left_is_right(parts: list[int], rate: float) -> None:
    """From the first time that it is said to the last."""
    total = sum(parts)
    pace, done = Pace(Amount(bytes=total), 100.0), 0
    for part in parts:
        done += part
        pace.add(Amount(bytes=part))
        left = pace.seconds_left(100 + done / rate)
        if left is not None:
            assert left == pytest.approx((total - done) / rate, abs=1e-6 * total / rate)


def test_no_time_is_said_before_there_is_enough_to_say_it() -> None:
    """Not in the first seconds, not of the first step, not of a sliver, not past an estimate."""

    def pace(step: int, steps: int, *, exact: bool = True) -> Pace:
        made = Pace(Amount(bytes=10_000), 0.0, exact=exact)
        for _ in range(steps):
            made.add(Amount(bytes=step))
        return made

    assert pace(100, 10).seconds_left(10) == pytest.approx(90)
    assert pace(100, 10).seconds_left(2.9) is None
    assert pace(1000, 3).seconds_left(10) is None
    assert pace(1, 90).seconds_left(10) is None
    assert pace(2000, 6, exact=False).seconds_left(10) is None


def test_of_what_stands_still_the_rest_takes_ever_longer() -> None:
    """A store that has gone must not leave three minutes on the screen for ever."""
    pace = Pace(Amount(bytes=100), 0.0)
    for _ in range(5):
        pace.add(Amount(bytes=10))
    assert [pace.seconds_left(now) for now in (10, 20, 200)] == [10, 20, 200]


def test_what_an_interrupted_one_had_left_says_nothing_of_the_speed() -> None:
    """Of 100 bytes 60 were there: 20 more in 10 seconds leave 10 seconds."""
    pace = Pace(Amount(bytes=100), 0.0, already=Amount(bytes=60))
    for _ in range(4):
        pace.add(Amount(bytes=5))
    assert pace.share == pytest.approx(0.8)
    assert pace.seconds_left(10) == pytest.approx(10)


def test_words_have_what_is_known_and_nothing_else() -> None:
    """An estimate is about, and one that was passed is not shown any more."""
    pace = Pace(Amount(3000, 9_000_000), 0.0, exact=False)
    for _ in range(4):
        pace.add(Amount(300, 900_000))
    assert pace.in_words(180.0) == (
        "40 %, about 4 min left, 1,200 of about 3,000 rows, 3.6 MB of about 9.0 MB"
    )
    pace.add(Amount(5000, 900_000))
    assert "6,200 rows, 4.5 MB of about 9.0 MB" in pace.in_words(180.0)
    unknown = Pace(Amount(), 0.0)
    assert (unknown.share, unknown.in_words(1.0)) == (None, "")
    unknown.add(Amount(rows=7))
    assert unknown.in_words(1.0) == "7 rows"
    assert Pace(Amount(rows=9), 0.0).in_words(0.0) == "0 %, 0 of 9 rows"


def test_rows_tell_how_far_it_is_only_where_no_bytes_are_known() -> None:
    """Rows are of any size."""
    pace = Pace(Amount(10, 100), 0.0)
    pace.add(Amount(9, 10))
    assert pace.share == 0.1
    rows = Pace(Amount(10), 0.0)
    rows.add(Amount(9))
    assert rows.share == 0.9


@pytest.mark.parametrize(
    ("seconds", "most"), [(10.0, 12), (600.0, 90), (_DAY, 200), (7 * _DAY, 240)]
)
def test_a_run_has_few_lines_however_long_and_however_many_parts(seconds: float, most: int) -> None:
    """A line of a run's log is a row in Dagster's database."""
    clock, lines = Clock(), list[str]()
    steps = 50_000
    with Meter("backing up", lines.append, Amount(bytes=steps), clock=clock) as meter:
        for number in range(steps):
            clock.now += seconds / steps
            meter.add(1, 1, what=f"public.t{number}")
    assert seconds < 20 or len(lines) > 40
    assert len(lines) <= most
    assert lines[-1] == "backing up: 100 %, 50,000 rows, 50.0 KB"
    shares = [int(line.split(": ")[1].split(" ")[0]) for line in lines]
    assert shares == sorted(shares)


def test_a_line_says_what_was_done_last() -> None:
    """So that people see which table is slow."""
    clock, lines = Clock(), list[str]()
    meter = Meter("verifying", lines.append, Amount(bytes=10), clock=clock)
    meter.add(bytes=1, what="public.deals")
    clock.now += 2
    meter.add(bytes=1, what="public.leads")
    assert lines == ["verifying: 20 %, 2 B of 10 B (public.leads)"]


def test_work_that_breaks_off_is_not_said_to_be_done() -> None:
    """The last line would be of 100 %."""
    lines: list[str] = []

    def broken() -> None:
        with Meter("verifying", lines.append, Amount(bytes=10)) as meter:
            meter.add(bytes=9)
            raise OSError

    with pytest.raises(OSError):
        broken()
    assert lines == []


def test_many_threads_are_counted_whole() -> None:
    """The core's workers report from their own threads."""
    meter = Meter("backing up", lambda line: None, Amount(rows=80_000))

    def work() -> None:
        for _ in range(10_000):
            meter.add(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "80,000" in meter.in_words()
    assert meter.share == 1


def test_a_table_moves_with_its_batches_and_comes_out_as_estimated() -> None:
    """By rows where PostgreSQL has an estimate of them, however wrong it is."""
    meter = Meter("backing up", lambda line: None, Amount(1000, 8000), exact=False)
    tally = Tally(meter, "public.t", Amount(1000, 8000))
    tally.begin(4)
    tally.passed(1, 125, 999_999)
    assert meter.done == Amount(125, 1000)
    tally.passed(3, 500, 1)
    assert meter.done == Amount(625, 1000 + 1980)
    tally.ended(1, 250)
    assert meter.done == Amount(750, 2000 + 1980)
    for piece, rows in ((3, 500), (2, 0), (0, 10)):
        tally.ended(piece, rows)
    assert meter.done == Amount(760, 8000)


def test_a_table_without_an_estimate_of_rows_moves_by_the_bytes_that_come() -> None:
    """Which are about those on disk."""
    meter = Meter("backing up", lambda line: None, Amount(bytes=8000), exact=False)
    tally = Tally(meter, "public.t", Amount(bytes=8000))
    tally.begin(2)
    tally.passed(0, 5, 1000)
    assert meter.done == Amount(5, 1000)
    tally.passed(0, 5, 90_000)
    assert meter.done == Amount(10, 3960)


def test_a_table_that_is_read_once_more_has_no_more_rows() -> None:
    """Its bytes are read twice, its rows are the same; a piece that broke off ends, too."""
    meter = Meter("backing up", lambda line: None, Amount(100, 800), exact=False)
    tally = Tally(meter, "public.t", Amount(100, 800))
    tally.begin(2)
    tally.passed(0, 30, 1)
    tally.ended(0)
    tally.ended(1, 50)
    assert meter.done == Amount(80, 800)
    tally.again()
    tally.begin(2)
    assert meter.total == Amount(100, 1600)
    tally.passed(2, 50, 1)
    assert meter.done == Amount(80, 800 + 396)
    tally.ended(2, 50)
    tally.ended(3, 50)
    assert meter.done == Amount(100, 1600)


@given(
    pieces=st.lists(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 9000)), max_size=6),
                    min_size=1, max_size=6),
    estimate=st.integers(0, 2000),
)  # fmt: skip
def test_a_table_never_goes_back_and_never_passes_its_bytes_before_its_end(
    pieces: list[list[tuple[int, int]]], estimate: int
) -> None:
    """Whatever comes of which piece."""
    meter = Meter("backing up", lambda line: None, Amount(estimate, 7001), exact=False)
    tally = Tally(meter, "public.t", Amount(estimate, 7001))
    tally.begin(len(pieces))
    for number, batches in enumerate(pieces):
        for batch in batches:
            before = meter.done
            tally.passed(number, *batch)
            assert before.bytes <= meter.done.bytes < 7001
            assert meter.done.rows == before.rows + batch[0]
        tally.ended(number, sum(rows for rows, _ in batches))
    assert meter.done == Amount(sum(rows for batches in pieces for rows, _ in batches), 7001)


def test_lines_come_while_one_piece_is_read() -> None:
    """A table of one piece may take minutes."""
    clock, lines = Clock(), list[str]()
    with Meter("backing up", lines.append, Amount(bytes=100), clock=clock) as meter:
        tally = Tally(meter, "public.t", Amount(bytes=100))
        for _ in range(60):
            clock.now += 1
            tally.passed(0, 1, 1)
        tally.ended(0, 60)
    assert 30 < len(lines) < 60
    assert " left, " in lines[-3]
    assert lines[-2].endswith("(public.t)")


def test_whoever_watches_sees_the_meter_that_is_at_work() -> None:
    """And nothing of what came before or comes after."""
    seen: list[str | None] = []

    def watch(meter: Meter | None) -> None:
        seen.append(meter.title if meter else None)

    def work(title: str) -> None:
        with Meter(title, lambda line: None, Amount()):
            pass

    work("before")
    with watched(watch):
        work("during")
    work("after")
    assert seen == ["during", None]


def test_lines_of_others_are_one_a_second_and_a_few_at_once_after_a_pause() -> None:
    """Ten a second for a minute, silence, and then the steps of an end."""
    clock, lines = Clock(), list[str]()
    report: Callable[[str], None] = sparse(lines.append, clock)
    for number in range(600):
        report(str(number))
        clock.now += 0.1
    assert 60 <= len(lines) <= 64
    clock.now += 60
    del lines[:]
    for step in "abcdef":
        report(step)
    assert lines == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("estimates", "rows"), [([10, 20], 30), ([10, -1], 0), ([10, 0], 0), ([], 0)]
)
def test_rows_are_estimated_only_where_postgresql_knows_all_tables(
    estimates: list[int], rows: int
) -> None:
    """Before the first ANALYZE it knows nothing of a table."""
    tables = [_table(f"t{n}", 8192, rows) for n, rows in enumerate(estimates)]
    assert expected([*tables, _table("empty", 0, -1)]) == Amount(rows, 8192 * len(estimates))


def _table(name: str, size: int, rows: int) -> LiveTable:
    return bare_table(name=name, heap_bytes=size, table_bytes=size, estimated_rows=rows)
