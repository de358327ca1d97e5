"""Distillation: plans of stages, their targets and objectives, and the engine that runs them."""
