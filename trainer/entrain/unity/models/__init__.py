"""Models for ML-Agents games: ONNX files for the game, checkpoints of `mlagents-learn`."""
