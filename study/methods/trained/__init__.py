"""Matching features of networks trained on real images: one family, and the methods that are settings of it."""
