"""Refusals of Graph are told apart by their message alone; the texts are those of graph.md sections 6 and 8."""

from __future__ import annotations

import pytest

from reconciler.clients.graph import RefusalReason as R
from reconciler.clients.graph import read_refusal
from tests.wire.make_replies import guid

A, B, C = guid(1), guid(2), guid(3)
SYNCED = (
    "Unable to update the specified properties for on-premises mastered Directory Sync objects or objects currently "
    "undergoing migration."
)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("License assignment cannot be done for user with invalid usage location.", R.USAGE_LOCATION),
        ("Invalid value specified for property 'usageLocation' of resource 'User'.", R.USAGE_LOCATION),
        (
            f"License assignment failed because service plan {A} is not allowed in usage location RU.",
            R.NOT_ALLOWED_THERE,
        ),
        ("ProhibitedInUsageLocationViolation", R.NOT_ALLOWED_THERE),
        (f"Service plan {A} is prohibited in the usage location of the user.", R.NOT_ALLOWED_THERE),
        ("This license is not available in the user's usage location.", R.NOT_ALLOWED_THERE),
        (f"The service plan {A} cannot be used in the country CU.", R.NOT_ALLOWED_THERE),
        (f"License {A} is not valid for usage location 'KP'.", R.NOT_ALLOWED_THERE),
        (f"Service plan {A} is restricted in the usage location IR.", R.NOT_ALLOWED_THERE),
        (f"Subscription with SKU {A} does not have any available licenses.", R.NO_SEAT),
        (f"License {A} does not correspond to a valid company License.", R.UNKNOWN_SKU),
        ("User does not have a corresponding license.", R.NOT_HELD),
        ("User license is inherited from a group membership and it cannot be removed directly.", R.INHERITED),
        ("No license changes provided. At least one license to add or remove must be specified.", R.EMPTY),
        (f"License assignment failed because service plans {A}, {B} are mutually exclusive.", R.EXCLUSIVE),
        (f"License assignment failed because service plan {A} depends on the service plan(s) {B}, {C}", R.DEPENDENCY),
        ("Cannot convert the literal 'SPE_E3' to the expected type 'Edm.Guid'.", R.BAD_GUID),
        ("Error due to concurrent requests being made to the tenant. Please wait briefly and retry.", R.LOCK),
        (SYNCED, R.SYNCED),
        ("Cannot Update a mail-enabled security groups and or distribution list.", R.MAIL_GROUP),
        (
            "One or more added object references already exist for the following modified properties: 'members'.",
            R.ALREADY_MEMBER,
        ),
        ("Another object with the same value for property proxyAddresses already exists.", R.PROXY_ADDRESS),
        ("Something that nobody has written down yet.", R.UNKNOWN),
        ("", R.UNKNOWN),
    ],
)
@pytest.mark.parametrize("spelling", [str, str.upper, str.lower])
def test_a_refusal_is_recognised_in_any_case(message, reason, spelling):
    assert read_refusal(400, "Request_BadRequest", spelling(message)).reason is reason


def test_plans_are_named_in_the_order_of_the_message():
    said = f"License assignment failed because service plan {C.upper()} depends on the service plan(s) {A}, {B}"

    assert read_refusal(400, "Request_BadRequest", said).plans == (C, A, B)


def test_a_missing_seat_names_its_sku():
    refusal = read_refusal(
        400, "Request_BadRequest", f"Subscription with SKU {A} does not have any available licenses."
    )

    assert (refusal.sku, refusal.plans) == (A, ())


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (409, "Directory_ConcurrencyViolation", R.LOCK),
        (403, "Authorization_RequestDenied", R.NO_PERMISSION),
        (404, "Request_ResourceNotFound", R.NO_OBJECT),
    ],
)
def test_a_telling_code_needs_no_message(status, code, reason):
    assert read_refusal(status, code, "").reason is reason
