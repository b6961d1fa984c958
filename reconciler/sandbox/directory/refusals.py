"""What the directory says no with: status, code and the exact text that a caller reads.

Texts are those of graph.md section 6 and 8; where that page says UNCONFIRMED, the function says so.
"""

from __future__ import annotations

from collections.abc import Iterable

BAD_REQUEST = "Request_BadRequest"
ON_PREMISES = (
    "Unable to update the specified properties for on-premises mastered Directory Sync objects or objects currently "
    "undergoing migration."
)


class Refused(Exception):
    """A change that the directory does not make. Nothing was changed."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


def bad_request(message: str) -> Refused:
    """400 with the code that every business refusal carries."""
    return Refused(400, BAD_REQUEST, message)


def invalid_usage_location() -> Refused:
    return bad_request("License assignment cannot be done for user with invalid usage location.")


def no_seat(sku_id: str) -> Refused:
    """Full text partly UNCONFIRMED; the part that scripts match is there."""
    return bad_request(f"Subscription with SKU {sku_id} does not have any available licenses.")


def unknown_sku(sku_id: str) -> Refused:
    return bad_request(f"License {sku_id} does not correspond to a valid company License.")


def not_held() -> Refused:
    return bad_request("User does not have a corresponding license.")


def inherited() -> Refused:
    return bad_request(
        "User license is inherited from a group membership and it cannot be removed directly from the user."
    )


def no_change() -> Refused:
    return bad_request("No license changes provided. At least one license to add or remove must be specified.")


def exclusive(plan_ids: Iterable[str]) -> Refused:
    first, second = plan_ids
    return bad_request(f"License assignment failed because service plans {first}, {second} are mutually exclusive.")


def dependency(plan_id: str, any_of: Iterable[str]) -> Refused:
    return bad_request(
        f"License assignment failed because service plan {plan_id} depends on the service plan(s) {', '.join(any_of)}"
    )


def prohibited(plan_id: str, location: str) -> Refused:
    """Text UNCONFIRMED; the state is ProhibitedInUsageLocationViolation."""
    return bad_request(
        f"License assignment failed because service plan {plan_id} is not allowed in usage location {location}."
    )


def plan_not_in_sku(plan_id: str, sku_id: str) -> Refused:
    """Text UNCONFIRMED."""
    return bad_request(f"Service plan {plan_id} is not part of the license {sku_id}.")


def same_sku_twice(sku_id: str) -> Refused:
    """UNCONFIRMED whether the service refuses; the sandbox does (graph.md section 6)."""
    return bad_request(f"License {sku_id} is specified more than once in the request.")


def not_found(object_id: str) -> Refused:
    return Refused(
        404,
        "Request_ResourceNotFound",
        f"Resource '{object_id}' does not exist or one of its queried reference-property objects are not present.",
    )


def already_member() -> Refused:
    return bad_request(
        "One or more added object references already exist for the following modified properties: 'members'."
    )


def synced_object() -> Refused:
    return bad_request(ON_PREMISES)


def mail_enabled_group() -> Refused:
    return bad_request("Cannot Update a mail-enabled security groups and or distribution list.")


def dynamic_group() -> Refused:
    """Code and text UNCONFIRMED (400 or 403)."""
    return bad_request("Insufficient privileges to complete the operation: members of a dynamic group are computed.")


def group_cannot_hold_licences() -> Refused:
    """Text UNCONFIRMED."""
    return bad_request("Licenses can only be assigned to security enabled groups.")


def invalid_country(value: str) -> Refused:
    """Text UNCONFIRMED."""
    return bad_request(f"Invalid value specified for property 'usageLocation' of resource 'User'. ({value!r:.40})")


def missing_privileges() -> Refused:
    return Refused(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
