"""Links that tasks show in the user interface."""
