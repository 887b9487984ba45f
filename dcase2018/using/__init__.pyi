from .exporting import check_export as check_export
from .exporting import export as export
