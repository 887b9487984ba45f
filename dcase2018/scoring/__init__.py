"""What a run says of clips, and how right that is. It never touches audio.

    metrics      MAP@3, mAP and lwlrap
    calibration  whether scores are what they say: shares of clips that are right
    prediction   scores of clips
    evaluation   scores against labels
    submission   Kaggle's CSV
    noise        how likely each clip's label is right
    relabelling  corrected labels for unverified clips
    suspicion    unverified labels ranked by how likely they are wrong

It may import foundation, corpus, features, examples and runs.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
