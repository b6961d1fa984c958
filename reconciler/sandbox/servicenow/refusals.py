"""What the instance answers instead of doing what it was asked. Texts: servicenow.md section 5."""

from __future__ import annotations


class Refusal(Exception):
    """A write or read that was refused; `status`, `message` and `detail` are those of the envelope; "" is null."""

    status = 403
    message = "Operation Failed"

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.message)
        self.detail = detail


class AclDenied(Refusal):
    """An access control list forbids it."""

    @classmethod
    def on(cls, operation: str) -> AclDenied:
        """The refusal of `operation`: "Update", "Insert" or "Delete"."""
        return cls(f"ACL Exception {operation} Failed due to security constraints")


class RuleAborted(Refusal):
    """A business rule stopped the write."""

    @classmethod
    def by(cls, rule: str, rule_id: str, table: str) -> RuleAborted:
        """The refusal by the rule of that name."""
        return cls(
            f"Operation against file '{table}' was aborted by Business Rule '{rule}^{rule_id}'."
            f" Business Rule Stack:{rule}"
        )


class PolicyFailed(Refusal):
    """A data policy wants fields that are empty."""

    @classmethod
    def wants(cls, labels: list[str]) -> PolicyFailed:
        """The refusal that names the fields by their labels."""
        return cls(f"Data Policy Exception: The following fields are mandatory: {', '.join(labels)}")


class NoRecord(Refusal):
    """There is no such row, or it may not be read; the two cannot be told apart."""

    status = 404
    message = "No Record found"

    def __init__(self, detail: str = "Record doesn't exist or ACL restricts the record retrieval") -> None:
        super().__init__(detail)


class InvalidTable(Refusal):
    """There is no such table; everybody is told so, whatever their credentials."""

    status = 400

    def __init__(self, table: str) -> None:
        super().__init__()
        self.message = f"Invalid table {table}"
