"""view: everything that the page of a dataset asks for: samples, filters, details, pictures, damage, groups. No HTTP here."""

from wdstools.ops.view.catalogue import Catalogue
from wdstools.ops.view.filters import Filters
from wdstools.ops.view.viewer import Viewer

__all__ = ["Catalogue", "Filters", "Viewer"]
