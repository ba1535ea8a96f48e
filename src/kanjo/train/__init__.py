"""Training: the only room that imports torch and lightning (extra ``train``)."""
