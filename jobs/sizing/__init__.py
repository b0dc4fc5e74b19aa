"""How many machines a job needs: a simulation of its pipeline, driven by measured times."""
