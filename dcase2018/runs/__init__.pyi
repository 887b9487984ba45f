from .ensemble import Ensemble as Ensemble
from .events import Events as Events
from .provenance import origin as origin
from .run import Run as Run
from .run import load_model as load_model
from .run import save_model as save_model
from .state import Limits as Limits
from .state import State as State
