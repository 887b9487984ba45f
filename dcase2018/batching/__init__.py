"""A store and labels to shuffled, augmented batches."""
