"""Training of the models: data to weights. Nothing here is needed at inference."""
