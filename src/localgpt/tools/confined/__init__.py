"""What runs inside the executor: the file worker's parts. Standard library only; see `file_worker`."""
