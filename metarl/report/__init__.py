"""Reports: runs on one page of HTML, which needs nothing else."""
