from tdpn_core.wording import agree, counted


def test_counted_number_has_the_noun_that_agrees():
    assert [counted(1, "clip"), counted(0, "clip"), counted(2, "class", "classes")] == [
        "1 clip",
        "0 clips",
        "2 classes",
    ]
    assert [agree(number, "is", "are") for number in (0, 1, 2)] == ["are", "is", "are"]
