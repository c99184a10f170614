"""Prints the seconds that importing a package takes in a process that has imported nothing yet."""

import sys
import time


def main(package):
    before = len(sys.modules)
    begin = time.perf_counter()
    __import__(package)
    seconds = time.perf_counter() - begin
    print(f'{{"seconds": {seconds}, "modules": {len(sys.modules) - before}}}')


main(sys.argv[1])
