from .augment import Augmentation as Augmentation
from .batches import Batches as Batches
from .clips import LabelledClips as LabelledClips
from .epochs import Epochs as Epochs
from .windows import Crops as Crops
from .windows import Windows as Windows
from .windows import in_turn as in_turn
