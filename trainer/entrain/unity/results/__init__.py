"""mlagents-learn's results of our runs: its files, TensorBoard tags and console lines."""
