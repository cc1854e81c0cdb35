import pytest

from toolkit.builtin.written_times import read_clock, read_day, read_month


@pytest.mark.parametrize(
    "text", ["2024-03-01", "1 March 2024", "March 1st, 2024", "the 1st of March 2024", "01.03.2024"]
)
def test_dates_are_read_as_people_write_them(text: str) -> None:
    assert read_day(text, "date").isoformat() == "2024-03-01"


@pytest.mark.parametrize(
    ("text", "clock"),
    [
        ("14:30", "14:30"), ("9:05", "09:05"), ("9 am", "09:00"), ("12 pm", "12:00"), ("12:15 a.m.", "00:15"),
        ("7.45pm", "19:45"),
    ],
)  # fmt: skip
def test_times_are_read_as_people_write_them(text: str, clock: str) -> None:
    assert read_clock(text, "time") == clock


@pytest.mark.parametrize("text", ["", "9", "25:00", "12:60", "noon", "13 pm x", "2024-03-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^start .* is no time of day; write for example 14:30$"):
        read_clock(text, "start")


@pytest.mark.parametrize("text", ["", "3/4/2024", "2024-02-30", "tomorrow"])
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^due .* is no date"):
        read_day(text, "due")


def test_months_are_read_as_people_write_them() -> None:
    assert {read_month(text, "month") for text in ("2024-03", "03/2024", "March 2024", "Mar 2024")} == {"2024-03"}
    with pytest.raises(ValueError, match=r"^month 'March' is no month"):
        read_month("March", "month")
