"""The command line and what brings a cluster up around a job."""
