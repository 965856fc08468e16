"""Find what could be a shortcut in a data set without attributes, and say it in words."""
