"""Numbers in sentences: one is not several."""

from services.core.wording import counted


def test_a_number_has_its_noun_in_the_right_form() -> None:
    assert [counted(each, "line") for each in (0, 1, 2, 1000)] == [
        "0 lines",
        "1 line",
        "2 lines",
        "1,000 lines",
    ]
    assert counted(1, "delivery is", "deliveries are") == "1 delivery is"
    assert counted(2, "delivery is", "deliveries are") == "2 deliveries are"
