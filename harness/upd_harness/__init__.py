"""What one does with a model: score images, measure, report."""
