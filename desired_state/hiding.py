"""What of a ticket's form is there and could not be read: nothing that it may say is guessed (I4). Pure.

Access rules take rows away one by one and without a word (servicenow.md section 4). What is left looks like a smaller
wish: no person named, no end. So a question that we ask is open where rows are hidden and none of those shown is its
own, or where it is known that there is a row. What is hidden and none of our questions changes nothing.
"""

from __future__ import annotations

from desired_state.items import Item
from desired_state.model import Ticket
from desired_state.text import one_line

_WHY = "the account that reads the form is not shown them (an access rule may hide their rows)"
_SO = "so it is not known what was asked for"


def lacking(ticket: Ticket, item: Item) -> tuple[str, ...]:
    """The questions that we ask and of which the ticket shows no row at all; () where it shows no form."""
    if ticket.variables is None:
        return ()
    return tuple(name for name in item.questions() if name not in ticket.variables)


def unread(ticket: Ticket, item: Item) -> str:
    """Why the lines of a ticket cannot be told from its form as it is shown, "" where nothing that we ask is hidden."""
    missing = lacking(ticket, item)
    certain = tuple(name for name in missing if name in ticket.unshown)
    if certain:
        return f"The form has answers to {_named(certain)}, and {_WHY}, {_SO}."
    if missing and ticket.hidden_answers:
        rows = "row of the form is" if ticket.hidden_answers == 1 else "rows of the form are"
        return (
            f"{ticket.hidden_answers} {rows} there and not shown to the account that reads it (an access rule hides "
            f"them), and answers to {_named(missing)} may be among them, {_SO}."
        )
    if item.rows is not None and ticket.hidden_cells:
        return (
            f"Of the form's table {ticket.hidden_cells} cells are there and not shown to the account that reads it "
            f"(an access rule hides them), {_SO}."
        )
    return ""


def is_open(ticket: Ticket, item: Item | None) -> bool:
    """Whether something of the ticket was not shown that may show later without a trace on the ticket."""
    if None in (ticket.variables, ticket.opened_by, ticket.requested_for):
        return True
    if item is None or not (ticket.hidden_answers or ticket.hidden_cells or ticket.unshown):
        return False
    return bool(unread(ticket, item))


def _named(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{one_line(name, 60)}'" for name in names)
