"""Labs: whole clusters on one machine, made, booted and removed by a provider."""
