"""What happens to the machine while a trial runs, seen by a process of its own.

`sampler` is that process; it writes raw samples to a file (`recording`). `summary` reads them where the trial's windows
were and makes the record. `link` is how the runner speaks to the sampler.
"""
