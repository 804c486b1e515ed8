"""The application's write side."""

from .delivery import BatchDelivery, Delivery
from .publisher import Publisher

__all__ = ["BatchDelivery", "Delivery", "Publisher"]
