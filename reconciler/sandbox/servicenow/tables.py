"""The tables of the pretend instance: names, columns, lengths and choice lists. Data.

Sources: servicenow.md section 7 (columns), section 8 (states, approvals, stages), section 18 (records), section 19
(lengths; the stored values of `request_state` and `sc_request.stage` are unconfirmed and may be replaced with
`Instance.add_column`).
"""

from __future__ import annotations

from reconciler.sandbox.servicenow.schema import (
    Column,
    Kind,
    Schema,
    Table,
    choice,
    columns,
    flag,
    instant,
    number,
    reference,
    text,
)

TASK_STATES = (
    ("-5", "Pending"),
    ("1", "Open"),
    ("2", "Work in Progress"),
    ("3", "Closed Complete"),
    ("4", "Closed Incomplete"),
    ("7", "Closed Skipped"),
)
CLOSED_STATES = frozenset({"3", "4", "7"})  # section 8, D:c_TaskStateUtil
OPEN_STATE = "1"
APPROVALS = (
    ("not requested", "Not Yet Requested"),
    ("requested", "Requested"),
    ("approved", "Approved"),
    ("rejected", "Rejected"),
    ("cancelled", "Cancelled"),
    ("not_required", "No Longer Required"),
)
APPROVER_STATES = (*APPROVALS, ("not_entitled", "Not Entitled"))
ITEM_STAGES = (
    ("waiting_for_approval", "Waiting for Approval"),
    ("manager_approval", "Manager Approval"),
    ("request_approved", "Request Approved"),
    ("fulfillment", "Fulfillment"),
    ("delivery", "Delivery"),
    ("Request Cancelled", "Request Cancelled"),
    ("complete", "Completed"),
)
REQUEST_STATES = (
    ("requested", "Pending"),
    ("in_process", "Approved"),
    ("closed_complete", "Closed Complete"),
    ("closed_incomplete", "Closed Incomplete"),
    ("closed_cancelled", "Closed Cancelled"),
    ("closed_rejected", "Closed Rejected"),
)
REQUEST_STAGES = (
    ("requested", "Requested"),
    ("fulfillment", "Fulfillment"),
    ("closed_complete", "Completed"),
    ("closed_incomplete", "Closed Incomplete"),
)

SYSTEM = ("sys_created_on", "sys_created_by", "sys_updated_on", "sys_updated_by", "sys_mod_count")
# Journal rows carry no update stamp in recorded rows (section 7).
CREATED_ONLY = ("sys_created_on", "sys_created_by")

_SYSTEM_COLUMNS = {
    "sys_created_on": instant("sys_created_on"),
    "sys_created_by": text("sys_created_by", 40),
    "sys_updated_on": instant("sys_updated_on"),
    "sys_updated_by": text("sys_updated_by", 40),
    "sys_mod_count": number("sys_mod_count"),
}
_SYS_ID = Column("sys_id", Kind.GUID, "Sys ID", length=32)
_SYS_TAGS = text("sys_tags")


def _table(
    name: str,
    label: str,
    *own: Column,
    display: str = "",
    parent: str = "",
    prefix: str = "",
    system: tuple[str, ...] = SYSTEM,
) -> Table:
    base = () if parent else (_SYS_ID, *(_SYSTEM_COLUMNS[c] for c in system), _SYS_TAGS)
    return Table(name, label, columns(*base, *own), display, parent, prefix, system)


def _task() -> Table:
    return _table(
        "task",
        "Task",
        text("number", 40),
        text("sys_class_name", 80),
        reference("sys_domain", "sys_user_group", default="global"),
        Column("sys_domain_path", Kind.STRING, "Domain path", default="/"),
        reference("parent", "task"),
        choice("state", TASK_STATES, default="1", kind=Kind.INTEGER),
        flag("active", default="true"),
        choice("approval", APPROVALS, default="not requested"),
        choice("priority", (("1", "Critical"), ("2", "High"), ("3", "Moderate"), ("4", "Low")), "4", Kind.INTEGER),
        reference("assignment_group", "sys_user_group"),
        reference("assigned_to", "sys_user"),
        instant("opened_at"),
        reference("opened_by", "sys_user"),
        instant("closed_at"),
        reference("closed_by", "sys_user"),
        text("close_notes", 4000),
        text("short_description", 160),
        text("description", 4000),
        text("correlation_id", 100),
        text("correlation_display", 100),
        instant("due_date", Kind.DUE),
        instant("sla_due", Kind.DUE),
        Column("calendar_duration", Kind.DURATION, "Duration"),
        Column("comments", Kind.JOURNAL, "Additional comments"),
        Column("work_notes", Kind.JOURNAL, "Work notes"),
        Column("comments_and_work_notes", Kind.JOURNAL_LIST, "Comments and work notes"),
        Column("upon_approval", Kind.STRING, "Upon approval", default="proceed"),
        Column("upon_reject", Kind.STRING, "Upon reject", default="cancel"),
        display="number",
    )


def _requests() -> tuple[Table, ...]:
    return (
        _table(
            "sc_request",
            "Request",
            reference("requested_for", "sys_user"),
            choice("request_state", REQUEST_STATES, default="requested"),
            choice("stage", REQUEST_STAGES, default="requested"),
            Column("price", Kind.PRICE, "Price", default="0"),
            text("special_instructions", 4000),
            instant("requested_date"),
            display="number",
            parent="task",
            prefix="REQ",
        ),
        _table(
            "sc_req_item",
            "Requested Item",
            reference("request", "sc_request"),
            reference("cat_item", "sc_cat_item"),
            reference("requested_for", "sys_user"),
            choice("stage", ITEM_STAGES),
            number("quantity", default="1"),
            Column("price", Kind.PRICE, "Price", default="0"),
            Column("recurring_price", Kind.PRICE, "Recurring price", default="0"),
            flag("backordered", default="false"),
            flag("billable", default="false"),
            text("context", 32),
            text("configuration_item", 32),
            text("order_guide", 32),
            text("sc_catalog", 32),
            instant("estimated_delivery"),
            display="number",
            parent="task",
            prefix="RITM",
        ),
        _table(
            "sc_task",
            "Catalog Task",
            reference("request_item", "sc_req_item"),
            reference("request", "sc_request"),
            text("sc_catalog", 32),
            display="number",
            parent="task",
            prefix="SCTASK",
        ),
    )


def _variables() -> tuple[Table, ...]:
    return (
        _table(
            "sc_cat_item",
            "Catalog Item",
            text("name", 100),
            text("short_description", 200),
            text("category", 32),
            Column("price", Kind.PRICE, "Price", default="0"),
            Column("recurring_price", Kind.PRICE, "Recurring price", default="0"),
            flag("active", default="true"),
            text("sys_class_name", 80),
            display="name",
        ),
        _table(
            "item_option_new",
            "Variable",
            text("name", 40),
            text("question_text", 200),
            text("type", 40),
            text("reference", 80),
            number("order"),
            text("variable_set", 32),
            reference("cat_item", "sc_cat_item"),
            flag("active", default="true"),
            flag("mandatory", default="false"),
            display="question_text",
        ),
        _table(
            "sc_item_option",
            "Options",
            reference("item_option_new", "item_option_new"),
            text("value", 4000),
            number("order"),
        ),
        _table(
            "sc_item_option_mtom",
            "Variable Ownership",
            reference("request_item", "sc_req_item"),
            reference("sc_item_option", "sc_item_option"),
        ),
        _table(
            "sc_multi_row_question_answer",
            "Multi Row Question Answer",
            text("parent_id", 32),
            text("parent_table_name", 80),
            text("row_index", 32),
            text("variable_set", 32),
            reference("item_option_new", "item_option_new"),
            text("value", 4000),
        ),
    )


def _people() -> tuple[Table, ...]:
    return (
        _table(
            "sys_user",
            "User",
            text("user_name", 40),
            text("name", 151),
            text("first_name", 50),
            text("last_name", 50),
            text("email", 100),
            text("employee_number", 40),
            text("title", 60),
            text("country", 40),
            reference("department", "cmn_department"),
            reference("cost_center", "cmn_cost_center"),
            reference("manager", "sys_user"),
            flag("active", default="true"),
            flag("locked_out", default="false"),
            flag("web_service_access_only", default="false"),
            flag("internal_integration_user", default="false"),
            text("time_zone", 40),
            text("source", 255),
            instant("last_login_time"),
            number("failed_attempts"),
            display="name",
        ),
        _table(
            "sys_user_group",
            "Group",
            text("name", 80),
            reference("manager", "sys_user"),
            flag("active", default="true"),
            text("type", 40),
            display="name",
        ),
        _table(
            "cmn_cost_center",
            "Cost Center",
            text("name", 100),
            text("code", 40),
            reference("manager", "sys_user"),
            instant("valid_from"),
            instant("valid_to"),
            display="name",
        ),
        _table(
            "cmn_department",
            "Department",
            text("name", 100),
            text("id", 40),
            reference("dept_head", "sys_user"),
            reference("cost_center", "cmn_cost_center"),
            display="name",
        ),
    )


def _platform() -> tuple[Table, ...]:
    return (
        _table(
            "sysapproval_approver",
            "Approval",
            choice("state", APPROVER_STATES, default="requested"),
            reference("approver", "sys_user"),
            reference("sysapproval", "task"),
            Column("document_id", Kind.DOCUMENT, "Approving", length=32),
            text("source_table", 80),
            Column("comments", Kind.JOURNAL, "Comments"),
            instant("due_date", Kind.DUE),
        ),
        _table(
            "sys_user_delegate",
            "Delegate",
            reference("user", "sys_user"),
            reference("delegate", "sys_user"),
            flag("approvals", default="true"),
            flag("assignments", default="false"),
            flag("notifications", default="true"),
            flag("invitations", default="false"),
            instant("starts"),
            instant("ends"),
        ),
        # What was changed, by whom; impersonation leaves the impersonated name here and an event of its own.
        _table(
            "sys_audit",
            "Audit",
            text("tablename", 80),
            text("documentkey", 32),
            text("fieldname", 80),
            text("oldvalue", 4000),
            text("newvalue", 4000),
            text("user", 40),
            text("reason", 255),
            number("record_checkpoint"),
            system=CREATED_ONLY,
        ),
        _table(
            "sysevent",
            "Event",
            text("name", 100),
            text("parm1", 255),
            text("parm2", 255),
            text("table", 80),
            text("instance", 32),
            text("user_name", 40),
            system=CREATED_ONLY,
        ),
        _table(
            "sys_journal_field",
            "Journal Entry",
            text("name", 80),
            text("element", 80),
            text("element_id", 32),
            text("value", 4000),
            system=CREATED_ONLY,
        ),
        _table(
            "sys_attachment",
            "Attachment",
            text("table_name", 80),
            text("table_sys_id", 32),
            text("file_name", 100),
            text("content_type", 100),
            number("size_bytes"),
            number("size_compressed"),
            flag("compressed", default="true"),
            text("hash", 64),
            text("state", 40),
            text("average_image_color", 40),
            number("image_height"),
            number("image_width"),
            display="file_name",
        ),
        _table(
            "sys_choice",
            "Choice",
            text("name", 80),
            text("element", 80),
            text("value", 40),
            text("label", 100),
            text("language", 3),
            number("sequence"),
            flag("inactive", default="false"),
            display="label",
        ),
        _table(
            "sys_dictionary",
            "Dictionary Entry",
            text("name", 80),
            text("element", 80),
            text("column_label", 80),
            text("internal_type", 40),
            text("reference", 80),
            number("max_length"),
            flag("active", default="true"),
            flag("mandatory", default="false"),
        ),
    )


def base_schema() -> Schema:
    """A fresh schema with every table the sandbox knows."""
    made = (_task(), *_requests(), *_variables(), *_people(), *_platform())
    return Schema({table.name: table for table in made})
