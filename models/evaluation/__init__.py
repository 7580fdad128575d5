"""What a bundle is worth on labelled pictures: delivery tiers, figures with intervals, slices, and the report.

NumPy, Pillow and ONNX Runtime only; training imports from here and nothing here imports training.
"""
