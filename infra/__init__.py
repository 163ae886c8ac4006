"""Storage, shards, manifests, tracking, checkpoints and the cluster: plumbing without models."""
