"""Detection and correction of wrong labels."""
