"""Diffusion over tri-planes: schedules, the two systems, samplers."""
