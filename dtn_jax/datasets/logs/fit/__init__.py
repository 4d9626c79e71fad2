"""What is fitted on train: keys, vocabularies, buckets, scales, in statistics that merge."""
