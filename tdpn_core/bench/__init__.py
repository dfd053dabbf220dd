"""Speed measurements on this machine, each compared with a baseline in the same run."""
