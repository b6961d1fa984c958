"""Catalogue items as an administrator declares them: what a form means and who closes what. Pure.

Values only. The same class is a `[[items]]` entry of config.toml and the argument of intake, so there is nothing to
translate and nothing to forget. Names of variables are case-sensitive, as ServiceNow's are (servicenow.md section 7).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


Name = Annotated[str, AfterValidator(_not_blank)]


class Variables(BaseModel):
    """Which variable of the form answers which question. None: the form does not ask."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    person: Name | None = None  # reference to sys_user, list collector of them, a sign-in name or a user name
    product: Name | None = None
    justification: Name | None = None
    cost_center: Name | None = None
    manager: Name | None = None
    start: Name | None = None
    end: Name | None = None
    duration: Name | None = None
    quantity: Name | None = None
    price: Name | None = None  # what the form showed the approver; else the ticket's own price counts


class Columns(BaseModel):
    """Columns of a multi-row variable set. What a row leaves out is taken from the form's own variables."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    person: Name | None = None
    product: Name | None = None
    start: Name | None = None
    end: Name | None = None
    duration: Name | None = None


class Item(BaseModel):
    """One catalogue item.

    The product is `product`, or what the answer to `variables.product` means: first by `products` (answer -> product
    key; several keys mean that the answer cannot be told apart and is asked back), then by the catalogue's own keys,
    names and aliases. `close` says who ends the ticket: we close our task and the flow closes the item ("task"), no
    flow owns the item and we close it ("item"), or neither ("none").
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    sys_id: Name | None = None  # decides when set; the name alone decides otherwise
    tenants: tuple[str, ...] = ()  # () means all of them
    product: Name | None = None
    products: Mapping[str, str | tuple[str, ...]] = Field(default_factory=dict)
    variables: Variables = Variables()
    rows: Columns | None = None
    approval: Literal["required", "none"] = "required"
    close: Literal["task", "item", "none"] = "task"
    reopen: bool = False  # a false line may be handed back by reopening the item, verified
    follow_up_group: str = ""  # name of the group that gets a task when a person must act
    attach_evidence: bool = False  # the chain of each line goes with the answer, as a file
    review_item: str = ""  # item (name or sys_id) that is ordered when a ticket can be handed back in no other way
    review_variable: str = "description"  # its variable that says why
    price_covers: Literal["line", "item"] = "line"  # is the ticket's price for each line, or for all of them

    @model_validator(mode="after")
    def _says_what_the_product_is(self) -> Item:
        asks = self.variables.product or (self.rows and self.rows.product)
        if self.product and (self.products or asks):
            raise ValueError("names a product and also asks for one; keep one of the two")
        if not self.product and not asks:
            raise ValueError('needs product = "KEY", or variables.product = the form\'s variable')
        return self

    def questions(self) -> tuple[str, ...]:
        """Every variable of the form whose answer is read, in the order of this class."""
        return tuple(dict.fromkeys(name for name in vars(self.variables).values() if name))

    def product_keys(self) -> tuple[str, ...]:
        """Every product that this entry names, for checks at load."""
        keys: list[str] = [self.product] if self.product else []
        for value in self.products.values():
            keys.extend([value] if isinstance(value, str) else value)
        return tuple(keys)

    def is_of(self, *, sys_id: str, name: str) -> bool:
        """Whether a ticket of this catalogue item is ours to read."""
        return sys_id == self.sys_id if self.sys_id else name.strip().casefold() == self.name.strip().casefold()
