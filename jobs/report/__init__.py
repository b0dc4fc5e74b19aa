"""The HTML report of a run: one self-contained page of numbers, failures and pictures with boxes."""
