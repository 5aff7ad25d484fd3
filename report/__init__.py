"""The report: one offline file, made from what publish wrote and from nothing else."""
