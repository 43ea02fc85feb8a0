"""`python -m drawbridge`, the same as `drawbridge`."""

from drawbridge.program import main

main()
