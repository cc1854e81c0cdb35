"""Times of cron expressions, by the rules of crontab(5)."""

import datetime as dt

import pytest

from evolver.crontab import trigger

SATURDAY = dt.datetime(2026, 11, 28, 12, tzinfo=dt.UTC)


def times(expression: str, count: int) -> list[dt.datetime]:
    """The first ``count`` times from a Saturday noon on."""
    found, now = [], SATURDAY
    for _ in range(count):
        at = trigger(expression).get_next_fire_time(None, now)
        found.append(at)
        now = at + dt.timedelta(seconds=1)
    return found


@pytest.mark.parametrize(
    ("weekday", "days"),
    [
        ("0", ["Sun"]), ("7", ["Sun"]), ("sun", ["Sun"]), ("1", ["Mon"]), ("6", ["Sat"]), ("SAT", ["Sat"]),
        ("1-5", ["Mon", "Tue", "Wed", "Thu", "Fri"]), ("mon-fri", ["Mon", "Tue", "Wed", "Thu", "Fri"]),
        ("5-7", ["Sun", "Fri", "Sat"]), ("0-2", ["Sun", "Mon", "Tue"]), ("6-1", ["Sun", "Mon", "Sat"]),
        ("1,3,5", ["Mon", "Wed", "Fri"]), ("0,7", ["Sun"]), ("1-2,6", ["Mon", "Tue", "Sat"]),
        ("*/2", ["Sun", "Tue", "Thu", "Sat"]), ("1-5/2", ["Mon", "Wed", "Fri"]), ("0-7/7", ["Sun"]),
        ("*", ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]),
    ],
)  # fmt: skip
def test_weekdays_count_from_sunday(weekday: str, days: list[str]) -> None:
    week = [at.strftime("%a") for at in times(f"0 3 * * {weekday}", len(days))]
    assert week == days
    assert times(f"0 3 * * {weekday}", len(days) + 1)[-1] == times(f"0 3 * * {weekday}", 1)[0] + dt.timedelta(days=7)


def test_a_day_and_a_weekday_together_mean_either() -> None:
    assert [at.strftime("%a %d") for at in times("0 3 13 * 5", 4)] == ["Fri 04", "Fri 11", "Sun 13", "Fri 18"]


def test_the_other_fields_have_lists_ranges_and_steps() -> None:
    assert [at.strftime("%d %H:%M") for at in times("0,30 */6 * DEC *", 3)] == ["01 00:00", "01 00:30", "01 06:00"]
    assert [at.strftime("%H:%M") for at in times("15 13-15 * * *", 4)] == ["13:15", "14:15", "15:15", "13:15"]


@pytest.mark.parametrize(
    "expression",
    ["", "every day", "0 3 * *", "0 3 * * * *", "60 3 * * *", "0 24 * * *", "0 3 32 * *", "0 3 * 13 *", "0 3 * * 8",
     "0 3 * * x", "0 3 * * 1-", "0 3 * * -1", "0 3 * * 1,", "0 3 * * 1/0", "0 3 * * *-2", "0 3 * * 1-5-6"],
)  # fmt: skip
def test_what_is_no_cron_expression_is_refused(expression: str) -> None:
    with pytest.raises(ValueError):
        trigger(expression)
