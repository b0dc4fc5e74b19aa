"""Datasets of boxes and of classes: COCO, Pascal VOC, YOLO and folders, read into one form, and written."""
