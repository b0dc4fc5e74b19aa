"""Video: frames listed without decoding, sampled, cut into segments, and decoded onto a model's canvas."""
