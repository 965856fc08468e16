"""Training, prediction, attribution and metrics of classifiers; knows torch, but none of the model libraries."""
