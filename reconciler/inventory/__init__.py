"""What stands in the store, as gauges: read anew at each scrape, so that nothing lingers and nothing is lost."""

from reconciler.inventory.collector import Inventory, Tenancy

__all__ = ["Inventory", "Tenancy"]
