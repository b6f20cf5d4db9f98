"""The README's claims, each as a command."""

from backend.threads import wait_passively

# As in the service and on the command line; before a benchmark loads torch.
wait_passively()
