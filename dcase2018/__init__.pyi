"""The public names, which are imported on first use.

Their purpose, parameters and results stay the same between minor versions. Changes are announced in
CHANGELOG.md and raise a warning for one minor version before. All other names may change at any time.
"""

# Label files and audio
from .data.audio_errors import AudioReadError as AudioReadError
from .data.labels import class_names as class_names
from .data.labels import read_labels as read_labels
from .data.splits import stratified_folds as stratified_folds
from .data.splits import stratified_holdout as stratified_holdout
from .data.synthetic import synthesize as synthesize

# Evaluation
from .evaluation.confidence_intervals import score_table as score_table
from .evaluation.evaluate import Evaluation as Evaluation
from .evaluation.evaluate import evaluate as evaluate
from .evaluation.out_of_fold import OutOfFold as OutOfFold
from .evaluation.submission import write_submission as write_submission

# Export
from .exporting.export import export as export

# Feature extraction
from .features.config import FEATURE_CONFIGS as FEATURE_CONFIGS
from .features.config import FeatureConfig as FeatureConfig
from .features.extraction import extract as extract
from .features.store import Store as Store

# Inference
from .inference.audio_tagger import AudioTagger as AudioTagger
from .inference.ensemble import Ensemble as Ensemble
from .inference.event_detection import Event as Event
from .inference.event_detection import EventConfig as EventConfig
from .inference.event_detection import detect_events as detect_events
from .inference.predictor import predict as predict
from .inference.window_scores import ClipScores as ClipScores
from .inference.window_scores import LevelConfig as LevelConfig
from .inference.window_scores import WindowScores as WindowScores

# Training
from .models.hparams import PRESETS as PRESETS
from .models.hparams import HParams as HParams
from .models.hparams import Preset as Preset
from .reporting.writer import report as report
from .runs.run import Run as Run
from .runs.training_state import StoppingCriteria as StoppingCriteria
from .training.experiment import Experiment as Experiment
from .training.fit import fit as fit

# Errors
from .utils.errors import Dcase2018Error as Dcase2018Error
from .utils.errors import InputError as InputError

__version__: str
