"""Inference libraries behind one small contract, each imported only when it is used."""
