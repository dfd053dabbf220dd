"""`python -m tdpn_cli`."""

from tdpn_cli.app import main

main()
