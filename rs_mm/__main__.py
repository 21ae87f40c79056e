"""``python -m rs_mm COMMAND``."""

from rs_mm.launch.console import main

main()
