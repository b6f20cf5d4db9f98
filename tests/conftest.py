from backend.threads import wait_passively

# Tests share the machine with the servers that they start, and with other runs of the suite.
wait_passively()
