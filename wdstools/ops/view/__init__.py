"""view: what the page of a dataset asks for. Samples by number, filters, details, pictures, damage, groups; no HTTP here."""

from wdstools.ops.view.catalogue import Catalogue
from wdstools.ops.view.filters import Filters
from wdstools.ops.view.viewer import Viewer

__all__ = ["Catalogue", "Filters", "Viewer"]
