"""Microsoft's published list with all the defects that its copies had."""

from __future__ import annotations

import pytest

from desired_state.catalogue import load_builtin
from desired_state.published import BadList, read_published

HEADER = (
    "Product_Display_Name,String_Id,GUID,Service_Plan_Name,Service_Plan_Id,Service_Plans_Included_Friendly_Names\r\n"
)
SKU, OTHER = "05e9a617-0261-4cee-bb44-138d3ef5d965", "06ebc4ee-1bb5-47dd-8120-11324bc54e06"
PLAN, MORE = "57ff2da0-773e-42df-b2af-ffb7a2317929", "a23b959c-7ce8-4e57-9140-b90eb88a9e97"


def a_row(product="Microsoft 365 E3", part="SPE_E3", sku=SKU, plan="TEAMS1", id=PLAN, shown="Microsoft Teams") -> str:
    return ",".join(f'"{cell}"' for cell in (product, part, sku, plan, id, shown)) + "\r\n"


def the_list(*rows: str, encoding: str = "utf-8") -> bytes:
    return (HEADER + "".join(rows)).encode(encoding)


def test_names_are_read_by_id():
    found = read_published(the_list(a_row(), a_row(plan="SWAY", id=MORE, shown="Sway")))

    assert found.skus == {SKU: ("SPE_E3", "Microsoft 365 E3")}
    assert found.plans == {PLAN: ("TEAMS1", "Microsoft Teams"), MORE: ("SWAY", "Sway")}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252"])
def test_every_encoding_that_the_list_has_had_is_read(encoding):
    found = read_published(the_list(a_row(product="Microsoft 365 – Dépôt"), encoding=encoding))

    assert found.skus[SKU] == ("SPE_E3", "Microsoft 365 – Dépôt")


def test_non_breaking_spaces_brackets_and_upper_case_do_not_change_an_id():
    found = read_published(
        the_list(a_row(product="Microsoft\u00a0365  E3 ", sku=f"({SKU.upper()})\u00a0", plan="TEAMS1)"))
    )

    assert found.skus == {SKU: ("SPE_E3", "Microsoft 365 E3")}
    assert found.plans[PLAN] == ("TEAMS1", "Microsoft Teams")


def test_repeated_rows_are_counted_and_say_nothing_new():
    found = read_published(the_list(a_row(), a_row(), a_row()))

    assert (found.rows, found.repeated, len(found.skus)) == (3, 2, 1)


def test_rows_without_a_usable_id_are_left_out_and_counted():
    found = read_published(the_list(a_row(), a_row(sku="not an id"), a_row(id=""), "\r\n"))

    assert (found.rows, found.skipped) == (3, 2)


def test_of_several_names_the_one_that_is_used_most_counts_and_mixed_case_before_upper_case():
    renamed = read_published(
        the_list(a_row(product="Old name"), a_row(product="New name", id=MORE), a_row(product="New name", plan="X"))
    )
    shouted = read_published(the_list(a_row(shown="MICROSOFT TEAMS"), a_row(sku=OTHER, shown="Microsoft Teams")))

    assert renamed.skus[SKU][1] == "New name"
    assert shouted.plans[PLAN][1] == "Microsoft Teams"


def test_the_order_of_the_rows_does_not_matter():
    rows = [a_row(product="B"), a_row(product="A", id=MORE), a_row(sku=OTHER, product="C", shown="Other")]

    assert read_published(the_list(*rows)) == read_published(the_list(*reversed(rows)))


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"<html><body>Sign in</body></html>", "column"),
        (b"Product_Display_Name,GUID\r\nx,y\r\n", "String_Id"),
        (b"\x81\x8d\x8f", "neither UTF-8 nor cp1252"),
        (HEADER.encode(), "none of its 0 rows"),
        (the_list(a_row(sku="x")), "none of its 1 rows"),
        (b"x" * 32_000_001, "bytes"),
    ],
)
def test_a_file_that_is_not_the_list_is_one_sentence(data, word):
    with pytest.raises(BadList, match=word):
        read_published(data)


def test_imported_names_change_names_and_never_ids_or_what_proves_a_product():
    builtin = load_builtin()

    named = builtin.with_names(
        {SKU: ("RENAMED_PART", "New name"), "new-sku": ("NEW", "A new SKU")}, {PLAN: ("X", "Teams!")}
    )

    assert (named.sku_part_number(SKU), named.sku_name(SKU)) == ("SPE_E3", "New name")
    assert named.sku_name("new-sku") == "A new SKU"
    assert named.plans[PLAN] == ("TEAMS1", "Teams!")
    assert named.products == builtin.products
    assert set(builtin.plans) <= set(named.plans)
