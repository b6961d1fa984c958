"""What the service exports about itself: names in `series`, values in `labels`, events through a `Meter`."""

from reconciler.metrics.labels import Offered, Vocabulary
from reconciler.metrics.meter import UNCOUNTED, Meter
from reconciler.metrics.registry import Registry

__all__ = ["UNCOUNTED", "Meter", "Offered", "Registry", "Vocabulary"]
