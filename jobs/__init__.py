"""Job specs, storage, planning, the Ray Data pipeline and its sink."""
