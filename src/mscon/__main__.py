"""`python -m mscon`, which is also how torchrun starts it: `torchrun --nproc-per-node=4 -m mscon train …`."""

from mscon.cli import main

main()
