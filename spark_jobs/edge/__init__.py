"""All that a job does outside of itself: callbacks, objects, datasets."""
