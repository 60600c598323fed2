"""Labelling with Label Studio: interface, guideline, tasks, and a diff of labels."""
