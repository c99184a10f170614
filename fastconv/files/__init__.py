"""What readers of foreign files share: published files and their cache, zip archives, pickles that execute nothing."""
