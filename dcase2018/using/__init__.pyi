from .export import check_export as check_export
from .export import export as export
