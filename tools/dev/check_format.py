#!/usr/bin/env python3
"""clang-format of every source file: says which differ; with --fix rewrites them."""
import concurrent.futures
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("runtime", "model", "actors", "tools", "examples", "tests")


def main():
    fix = "--fix" in sys.argv[1:]
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "--", *FOLDERS],
                            cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    files = [f for f in listed.splitlines() if f.endswith((".h", ".cpp")) and (ROOT / f).exists()]

    def check(name):
        flags = ["-i"] if fix else ["--dry-run", "-Werror"]
        return name, subprocess.run(["clang-format", *flags, name], cwd=ROOT,
                                    capture_output=True, check=False).returncode

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        wrong = [name for name, status in pool.map(check, files) if status != 0]
    for name in wrong:
        print(f"{name}: not as clang-format has it; tools/dev/check_format.py --fix mends it")
    print(f"{len(files)} files, {len(wrong)} to mend")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
