"""`veedor view`: a page over a run, served on loopback alone."""
