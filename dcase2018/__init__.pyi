"""The public names. They keep their meaning, parameters and results from one minor version to the next:
what has to change is announced in CHANGELOG.md, and warns for one minor version before. Whatever else the
rooms hold may change at any time."""

# Label files and clips
from .corpus import BadClipError as BadClipError
from .corpus import class_names as class_names
from .corpus import folds as folds
from .corpus import hold_out as hold_out
from .corpus import read_labels as read_labels
from .corpus import synthesize as synthesize

# Clips to stores
from .features import RECIPES as RECIPES
from .features import Recipe as Recipe
from .features import Store as Store
from .features import extract as extract

# What a user can cause
from .foundation import Dcase2018Error as Dcase2018Error
from .foundation import InputError as InputError

# Stores to runs
from .networks import PRESETS as PRESETS
from .networks import HParams as HParams
from .networks import Preset as Preset

# Runs to a page
from .reporting import report as report
from .runs import Ensemble as Ensemble
from .runs import Limits as Limits
from .runs import Run as Run

# Runs to scores
from .scoring import Evaluation as Evaluation
from .scoring import evaluate as evaluate
from .scoring import predict as predict
from .scoring import write_submission as write_submission
from .training import Experiment as Experiment
from .training import fit as fit

# Runs at work elsewhere
from .using import Event as Event
from .using import Joining as Joining
from .using import Listener as Listener
from .using import OverTime as OverTime
from .using import Timeline as Timeline
from .using import export as export
from .using import find_events as find_events
