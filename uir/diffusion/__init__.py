"""The mathematics of diffusion restorers: schedules, forward processes and samplers, as functions without networks."""
