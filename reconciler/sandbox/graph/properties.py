"""Users, groups and the like as Graph shows them: which properties there are and what they say (graph.md section 3).

Properties that Graph has and the sandbox does not keep are null (or an empty list) when asked for; names that Graph
does not have are refused or left out, by `Switches.unknown_select`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from reconciler.sandbox.directory.catalogue import Catalogue
from reconciler.sandbox.directory.entitlement import effective_licences, enabled_plans
from reconciler.sandbox.directory.records import Assignment, Group, Sku, User
from reconciler.sandbox.directory.store import Store
from reconciler.sandbox.graph.answers import Problem, bad_request
from reconciler.sandbox.instants import iso, iso_or_none


def _words(text: str) -> list[str]:
    return text.split()


USER_DEFAULTS = _words(
    "businessPhones displayName givenName jobTitle mail mobilePhone officeLocation preferredLanguage surname "
    "userPrincipalName id"
)
GROUP_DEFAULTS = _words(
    "id deletedDateTime classification createdDateTime description displayName expirationDateTime groupTypes "
    "isAssignableToRole mail mailEnabled mailNickname membershipRule membershipRuleProcessingState "
    "onPremisesDomainName onPremisesLastSyncDateTime onPremisesNetBiosName onPremisesSamAccountName "
    "onPremisesSecurityIdentifier onPremisesSyncEnabled preferredDataLocation preferredLanguage proxyAddresses "
    "renewedDateTime resourceBehaviorOptions resourceProvisioningOptions securityEnabled securityIdentifier theme "
    "visibility onPremisesProvisioningErrors"
)

# Kept by services outside the directory: 501 in a list (graph.md section 3).
USER_OUTSIDE = frozenset(
    _words(
        "aboutMe birthday hireDate interests mailboxSettings mySite pastProjects preferredName responsibilities "
        "schools skills signInActivity print"
    )
)
USER_NULLS = frozenset(
    _words(
        "ageGroup authorizationInfo city companyName consentProvidedForMinor creationType customSecurityAttributes "
        "deviceEnrollmentLimit employeeHireDate employeeLeaveDateTime employeeOrgData externalUserState "
        "externalUserStateChangeDateTime faxNumber givenName identityParentId isManagementRestricted "
        "lastPasswordChangeDateTime legalAgeGroupClassification mobilePhone officeLocation onPremisesDistinguishedName "
        "onPremisesDomainName onPremisesExtensionAttributes onPremisesImmutableId onPremisesLastSyncDateTime "
        "onPremisesSamAccountName onPremisesSecurityIdentifier onPremisesUserPrincipalName passwordPolicies "
        "passwordProfile postalCode preferredDataLocation preferredLanguage securityIdentifier showInAddressList "
        "signInSessionsValidFromDateTime state streetAddress surname"
    )
)
USER_EMPTIES = frozenset(
    _words(
        "businessPhones identities imAddresses interests onPremisesProvisioningErrors otherMails pastProjects "
        "responsibilities schools serviceProvisioningErrors skills"
    )
)
GROUP_NULLS = frozenset(
    _words(
        "accessType allowExternalSenders autoSubscribeNewMembers classification expirationDateTime "
        "hasMembersWithLicenseErrors hideFromAddressLists hideFromOutlookClients isArchived isFavorite "
        "isManagementRestricted isSubscribedByMail onPremisesDomainName onPremisesExtensionAttributes "
        "onPremisesLastSyncDateTime onPremisesNetBiosName onPremisesSamAccountName onPremisesSecurityIdentifier "
        "organizationId preferredDataLocation preferredLanguage renewedDateTime theme uniqueName "
        "unseenConversationsCount unseenCount unseenMessagesCount visibility welcomeMessageEnabled securityIdentifier "
        "description"
    )
)
GROUP_EMPTIES = frozenset(
    _words(
        "assignedLabels infoCatalogs onPremisesProvisioningErrors proxyAddresses resourceBehaviorOptions "
        "resourceProvisioningOptions serviceProvisioningErrors"
    )
)


NO_DATE = "0001-01-01T08:00:00Z"
"""How Graph says "never set" for dates that cannot be null."""


class Properties:
    """What an object's properties say now."""

    def __init__(self, store: Store, catalogue: Catalogue) -> None:
        self._store = store
        self._catalogue = catalogue
        self._user: dict[str, Callable[[User], Any]] = {
            "id": lambda u: u.user_id,
            "userPrincipalName": lambda u: u.upn,
            "displayName": lambda u: u.display_name,
            "mail": lambda u: u.mail,
            "mailNickname": lambda u: u.upn.split("@")[0],
            "proxyAddresses": lambda u: [f"SMTP:{u.mail}"] if u.mail else [],
            "jobTitle": lambda u: u.job_title,
            "accountEnabled": lambda u: u.enabled,
            "usageLocation": lambda u: u.usage_location,
            "country": lambda u: u.country,
            "department": lambda u: u.department,
            "employeeType": lambda u: u.employee_type,
            "employeeId": lambda u: u.employee_id,
            "onPremisesSyncEnabled": lambda u: True if u.synced else None,
            "userType": lambda u: u.user_type,
            "isResourceAccount": lambda u: u.is_resource,
            "createdDateTime": lambda u: iso(u.created_at),
            "deletedDateTime": lambda u: iso_or_none(u.deleted_at),
            "birthday": lambda _: NO_DATE,
            "hireDate": lambda _: NO_DATE,
            "deviceEnrollmentLimit": lambda _: 15,
            "assignedLicenses": self.assigned_licences,
            "licenseAssignmentStates": lambda u: [self.assignment_state(a) for a in u.assignments],
            "assignedPlans": self.assigned_plans,
            "provisionedPlans": self.provisioned_plans,
        }
        self._group: dict[str, Callable[[Group], Any]] = {
            "id": lambda g: g.group_id,
            "displayName": lambda g: g.name,
            "createdDateTime": lambda g: iso(g.created_at),
            "deletedDateTime": lambda g: iso_or_none(g.deleted_at),
            "groupTypes": _group_types,
            "securityEnabled": lambda g: g.is_security_enabled,
            "mailEnabled": lambda g: g.is_mail_enabled,
            "mail": lambda g: f"{_nickname(g)}@contoso.example" if g.is_mail_enabled else None,
            "mailNickname": _nickname,
            "membershipRule": lambda g: '(user.department -eq "Sales")' if g.is_dynamic else None,
            "membershipRuleProcessingState": lambda g: "On" if g.is_dynamic else None,
            "isAssignableToRole": lambda g: True if g.role_assignable else None,
            "onPremisesSyncEnabled": lambda g: True if g.synced else None,
            "assignedLicenses": lambda g: [
                {"skuId": self.sku_id(s), "disabledPlans": list(p)} for s, p in g.licenses.items()
            ],
            "licenseProcessingState": lambda g: {"state": g.processing} if g.licenses or g.waiting else None,
        }

    # --- choosing

    def user_names(self, select: list[str] | None, *, unknown: str, in_list: bool) -> list[str]:
        """Names of the user properties to show; `id` only if asked for, as Graph does it.

        Raises:
            Problem: 400 for a name that users do not have; 501 for one that is kept elsewhere.
        """
        if select is None:
            return USER_DEFAULTS
        if in_list and (outside := USER_OUTSIDE.intersection(select)):
            raise Problem(501, "NotImplemented", f"Property {sorted(outside)[0]} cannot be read in a list.")
        known = self._user.keys() | USER_NULLS | USER_EMPTIES | USER_OUTSIDE
        return _known(select, known, "microsoft.graph.user", unknown)

    def group_names(self, select: list[str] | None, *, unknown: str) -> list[str]:
        """The same for groups."""
        if select is None:
            return GROUP_DEFAULTS
        return _known(select, self._group.keys() | GROUP_NULLS | GROUP_EMPTIES, "microsoft.graph.group", unknown)

    # --- showing

    def user(self, user: User, names: Iterable[str]) -> dict[str, Any]:
        """These properties of a user."""
        return {name: self.user_value(user, name) for name in names}

    def user_value(self, user: User, name: str) -> Any:
        if (getter := self._user.get(name)) is not None:
            return getter(user)
        return [] if name in USER_EMPTIES else None

    def group(self, group: Group, names: Iterable[str]) -> dict[str, Any]:
        """These properties of a group."""
        return {name: self.group_value(group, name) for name in names}

    def group_value(self, group: Group, name: str) -> Any:
        if (getter := self._group.get(name)) is not None:
            return getter(group)
        return [] if name in GROUP_EMPTIES else None

    def sku_id(self, sku_id: str) -> str:
        """A SKU id in the case in which the tenant's subscription shows it."""
        return sku_id.upper() if self._store.skus[sku_id].upper_case else sku_id

    def assigned_licences(self, user: User) -> list[dict[str, Any]]:
        effective = effective_licences(user.assignments)
        return [{"disabledPlans": list(plans), "skuId": self.sku_id(sku)} for sku, plans in effective.items()]

    def assignment_state(self, entry: Assignment) -> dict[str, Any]:
        healthy = None if self._store.switches.none_error_is_null else "None"
        return {
            "skuId": self.sku_id(entry.sku_id),
            "disabledPlans": list(entry.disabled),
            "assignedByGroup": entry.group_id,
            "state": entry.state,
            "error": entry.error or healthy,
            "lastUpdatedDateTime": iso(entry.updated_at),
        }

    def assigned_plans(self, user: User) -> list[dict[str, Any]]:
        plans = self._catalogue.plans
        capability = self._capabilities(user)
        return [
            {
                "assignedDateTime": iso(state.assigned_at),
                "capabilityStatus": capability.get(plan_id, state.capability),
                "service": plans[plan_id].service,
                "servicePlanId": plan_id,
            }
            for plan_id, state in user.plans.items()
        ]

    def _capabilities(self, user: User) -> dict[str, str]:
        """Plans whose every SKU is not simply Enabled in the tenant -> what the best of those SKUs is."""
        skus = self._store.skus
        if all(skus[a.sku_id].capability == "Enabled" for a in user.assignments):
            return {}
        order = ("Enabled", "Warning", "Suspended", "LockedOut", "Deleted")
        best: dict[str, int] = {}
        for entry in user.assignments:
            if entry.is_in_force:
                rank = order.index(skus[entry.sku_id].capability)
                for plan_id in skus[entry.sku_id].plan_ids:
                    if plan_id not in entry.disabled:
                        best[plan_id] = min(rank, best.get(plan_id, rank))
        return {plan_id: order[rank] for plan_id, rank in best.items() if rank}

    def provisioned_plans(self, user: User) -> list[dict[str, Any]]:
        seen = {(self._catalogue.plans[p].service, s.capability, s.status): None for p, s in user.plans.items()}
        return [{"capabilityStatus": c, "provisioningStatus": p, "service": service} for service, c, p in seen]

    def licence_details(self, user: User, sku: Sku) -> list[dict[str, Any]]:
        """servicePlans of one licence of one user.

        A replica that lags behind remembers another one: a plan that was put into the SKU meanwhile is not there yet.
        """
        enabled = enabled_plans(user.assignments, self._store.skus)
        return [
            {
                "servicePlanId": plan_id,
                "servicePlanName": self._catalogue.plans[plan_id].name,
                "provisioningStatus": user.plans[plan_id].status if plan_id in enabled else "Disabled",
                "appliesTo": self._catalogue.plans[plan_id].applies_to,
            }
            for plan_id in sku.plan_ids
            if plan_id not in enabled or plan_id in user.plans
        ]


def _known(select: list[str], known: Iterable[str], type_name: str, unknown: str) -> list[str]:
    exact = {name.lower(): name for name in sorted(known)}
    names: list[str] = []
    for name in select:
        if name == "*":
            names.extend(exact.values())
        elif name.lower() in exact:
            names.append(exact[name.lower()])
        elif unknown == "refused":
            raise bad_request(
                "Parsing OData Select and Expand failed: "
                f"Could not find a property named '{name}' on type '{type_name}'.",
                code="BadRequest",
            )
    return list(dict.fromkeys(names))


def _group_types(group: Group) -> list[str]:
    if group.is_dynamic:
        return ["DynamicMembership"]
    return ["Unified"] if group.kind.startswith("microsoft365") else []


def _nickname(group: Group) -> str:
    return "".join(c for c in group.name.lower() if c.isalnum()) or group.group_id[:8]
