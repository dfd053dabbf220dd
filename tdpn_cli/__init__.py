"""The command line of TDPN: options, one library call a command, and what a person sees."""
