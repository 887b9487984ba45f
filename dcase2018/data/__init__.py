"""Audio files, label files, splits, the demo corpus and the download of FSDKaggle2018."""
