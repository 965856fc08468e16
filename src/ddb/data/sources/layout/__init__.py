"""What readers of layouts share: folders, split names, listings, splits made here, and which layout a folder has."""
