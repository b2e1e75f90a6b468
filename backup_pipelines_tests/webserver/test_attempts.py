"""How often a password may be tried."""

from backup_pipelines.webserver.attempts import LOCKED_SECONDS, TRIES, Attempts


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_ten_tries_lock_a_name_for_one_address_for_a_quarter_of_an_hour() -> None:
    """Whoever knows the password from elsewhere still gets in; after the time anybody may again."""
    clock = Clock()
    attempts = Attempts(clock)
    assert [attempts.begin("ada", "1.2.3.4") for _ in range(TRIES)] == [0.0] * TRIES
    assert attempts.begin("ADA", "1.2.3.4") == LOCKED_SECONDS
    assert attempts.begin("ada", "5.6.7.8") == 0.0
    assert attempts.begin("olga", "1.2.3.4") == 0.0
    clock.now += LOCKED_SECONDS - 1
    assert attempts.begin("ada", "1.2.3.4") == 1.0
    clock.now += 1
    assert attempts.begin("ada", "1.2.3.4") == 0.0


def test_many_addresses_get_no_further_than_a_hundred_tries() -> None:
    """Tries of a name are counted together, too."""
    attempts = Attempts(Clock())
    waits = [attempts.begin("ada", f"10.0.0.{n}") for n in range(150)]
    assert waits[:100] == [0.0] * 100
    assert all(waits[100:])


def test_a_right_password_starts_the_count_anew() -> None:
    """Nine wrong ones and a right one are no tenth."""
    attempts = Attempts(Clock())
    for _ in range(5):
        for _ in range(TRIES):
            assert attempts.begin("ada", "1.2.3.4") == 0.0
        attempts.succeeded("ada", "1.2.3.4")


def test_what_is_remembered_does_not_grow() -> None:
    """A flood of names, however long, takes the room of ten thousand."""
    attempts = Attempts(Clock())
    for number in range(12_000):
        attempts.begin(f"name {number}" * 20, "1.2.3.4")
    assert len(attempts._counts) == 10_000


def test_a_crowd_of_names_lifts_no_lock() -> None:
    """Whoever is locked out could else send ten thousand names, and go on trying."""
    clock = Clock()
    attempts = Attempts(clock)
    for _ in range(TRIES):
        attempts.begin("ada", "1.2.3.4")
    for number in range(12_000):
        attempts.begin(f"name {number}", f"10.0.{number // 250}.{number % 250}")
    assert attempts.begin("ada", "1.2.3.4") == LOCKED_SECONDS
