"""What mlagents-learn leaves behind: its files, TensorBoard tags and console lines, of our runs."""
