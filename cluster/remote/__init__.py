"""Jobs on a cluster, through Ray's job server: submitted, followed, listed, stopped."""
