"""Running a fit: the loop, its batches, hardware, seeds, schedules, callbacks and checkpoints.

Nothing here knows of physics.
"""
