from .extraction import extract as extract
from .frontend import FrontEnd as FrontEnd
from .logmel import LogMel as LogMel
from .recipe import RECIPES as RECIPES
from .recipe import Recipe as Recipe
from .store import Store as Store
from .store import is_store as is_store
from .writing import Disk as Disk
