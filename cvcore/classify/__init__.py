"""Classifiers, and localisers: a class and one box for each image."""
