"""The man page has a word for every way in which a job of the history ends. Each decision in docs/adr has a number of its own, in its name and its title, without a gap; all that names one means one."""
import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def text_of(*path):
    with open(os.path.join(ROOT, *path), encoding="utf-8") as f:
        return f.read()


def sources():
    for top in ("docs", "src", "tests", "bench"):
        for base, _, files in os.walk(os.path.join(ROOT, top)):
            yield from (os.path.relpath(os.path.join(base, f), ROOT) for f in files if f.endswith((".cc", ".h", ".py", ".md", ".in")))
    yield from ("README.md", "CHANGELOG.md")


faults = []
names = sorted(os.listdir(os.path.join(ROOT, "docs", "adr")))
for wanted, name in enumerate(names, 1):
    title = text_of("docs", "adr", name).split("\n", 1)[0]
    if not name.startswith(f"{wanted:04d}-") or not title.startswith(f"# {wanted}. "):
        faults.append(f"docs/adr/{name} should be number {wanted}, and is {title!r}")
numbers = {name[:4] for name in names}
for path in sources():
    for number in re.findall(r"docs/adr/(\d{4})", text_of(path)):
        if number not in numbers:
            faults.append(f"{path}: there is no docs/adr/{number}")
names_of_ends = re.search(r"names\{(.*?)\}", text_of("src", "history", "job.cc"), re.S).group(1)
ends = re.findall(r'"(\w+)"', names_of_ends)
table = text_of("docs", "berth.1.in").split("@@ history", 1)[1].split(".TS\n", 1)[1].split(".TE", 1)[0]
listed = re.findall(r"^(\w+)\t", table, re.M)
if ends != listed:
    faults.append(f"docs/berth.1.in: the ends of a job are {ends}, and it has {listed}")
print("\n".join(faults) or f"{len(names)} decisions")
sys.exit(bool(faults))
