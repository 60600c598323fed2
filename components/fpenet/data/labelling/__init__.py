"""What a person labels with: Label Studio's interface, a guideline, tasks, and what changed."""
