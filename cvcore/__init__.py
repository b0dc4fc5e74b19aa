"""Models, operators and metrics of Veedor: torch, torchvision, numpy and scipy only."""
