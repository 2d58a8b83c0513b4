#!/usr/bin/env python3
"""Checks every source file with clang-format and names those that differ; --fix rewrites them.

The hashes of files that were right are remembered in build/format-seen, so that these files are not
checked again.
"""
import concurrent.futures
import hashlib
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEEN = ROOT / "build" / "format-seen"
FOLDERS = ("runtime", "model", "actors", "tools", "examples", "tests")


def main():
    fix = "--fix" in sys.argv[1:]
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "--", *FOLDERS],
                            cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
    files = [f for f in listed.splitlines() if f.endswith((".h", ".cpp", ".cu")) and (ROOT / f).exists()]

    style = (ROOT / ".clang-format").read_bytes()
    seen = set(SEEN.read_text().split()) if SEEN.exists() else set()

    def hash_of(name):
        return hashlib.sha256(style + (ROOT / name).read_bytes()).hexdigest()

    def check(name):
        if hash_of(name) in seen:
            return name, 0
        flags = ["-i"] if fix else ["--dry-run", "-Werror"]
        return name, subprocess.run(["clang-format", *flags, name], cwd=ROOT,
                                    capture_output=True, check=False).returncode

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        wrong = [name for name, status in pool.map(check, files) if status != 0]
    SEEN.parent.mkdir(exist_ok=True)
    SEEN.write_text("\n".join(hash_of(name) for name in files if name not in wrong))
    for name in wrong:
        print(f"{name}: clang-format would change it; tools/dev/check_format.py --fix does so")
    print(f"{len(files)} files, {len(wrong)} to format")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
