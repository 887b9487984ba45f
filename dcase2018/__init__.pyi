"""The public names, which are imported on first use.

Their purpose, parameters and results stay the same between minor versions. Changes are announced in
CHANGELOG.md and raise a warning for one minor version before. All other names may change at any time.
"""

# Label files and audio
from .data.audio_errors import AudioReadError as AudioReadError
from .data.label_builders import make_labels as make_labels
from .data.labels import class_names as class_names
from .data.labels import read_labels as read_labels
from .data.splits import stratified_folds as stratified_folds
from .data.splits import stratified_holdout as stratified_holdout
from .data.synthetic import synthesize as synthesize

# Evaluation
from .evaluation.calibration import calibrate as calibrate
from .evaluation.confidence_intervals import confidence_intervals as confidence_intervals
from .evaluation.confidence_intervals import score_table as score_table
from .evaluation.evaluate import Evaluation as Evaluation
from .evaluation.evaluate import evaluate as evaluate
from .evaluation.out_of_fold import OutOfFold as OutOfFold
from .evaluation.out_of_fold import read_out_of_fold as read_out_of_fold
from .evaluation.significance import compare as compare
from .evaluation.submission import score as score
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
from .inference.audio_tagger import FailedFile as FailedFile
from .inference.batch_tagging import tag as tag
from .inference.embeddings import embed as embed
from .inference.embeddings import read_embeddings as read_embeddings
from .inference.ensemble import Ensemble as Ensemble
from .inference.event_detection import Event as Event
from .inference.event_detection import EventConfig as EventConfig
from .inference.event_detection import detect_events as detect_events
from .inference.output_formats import TaggingResult as TaggingResult
from .inference.predictor import predict as predict
from .inference.window_scores import ClipScores as ClipScores
from .inference.window_scores import LevelConfig as LevelConfig
from .inference.window_scores import WindowScores as WindowScores

# Label quality
from .label_quality.correction import CorrectedLabels as CorrectedLabels
from .label_quality.correction import correct_labels as correct_labels
from .label_quality.label_issues import find_label_issues as find_label_issues

# Training
from .models.hparams import PRESETS as PRESETS
from .models.hparams import HParams as HParams
from .models.hparams import Preset as Preset
from .reporting.writer import report as report
from .runs.run import Run as Run
from .runs.training_state import StoppingCriteria as StoppingCriteria
from .training.experiment import Experiment as Experiment
from .training.fit import fit as fit
from .training.tuning import tune as tune

# Errors
from .utils.errors import Dcase2018Error as Dcase2018Error
from .utils.errors import InputError as InputError

__version__: str
