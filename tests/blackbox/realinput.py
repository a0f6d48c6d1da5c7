"""Real work: files of the compiler's own, compressed by 40 jobs at once on two slots."""
import hashlib
import lzma
import os
import subprocess
import tempfile

from berthtest import Pool, check, main, wait_exit

JOBS = 40
SLOTS = 2
MOST_BYTES = 48 << 20
EACH_AT_MOST = 2 << 20

# Takes one of the slots' witness locks, or says that there were more than two of us.
JOB = r'''
for slot in 1 2; do
  exec 9>"$1/slot$slot"
  if flock -n 9; then exec xz -1 -k -T1 -c "$2" >"$3" 9>&9; fi
done
echo "$2" >>"$1/over"; exit 99
'''


def real_files():
    found = []
    for top in ("/usr/lib/gcc", "/usr/lib", "/usr/bin"):
        for folder, _, names in os.walk(top):
            for name in sorted(names):
                path = os.path.join(folder, name)
                if os.path.isfile(path) and not os.path.islink(path) and 4096 < os.path.getsize(path) <= EACH_AT_MOST:
                    found.append(path)
                if len(found) == JOBS * 4:
                    return found
    return found


def chosen_files():
    files, total = [], 0
    for path in sorted(real_files(), key=os.path.getsize, reverse=True):
        if len(files) < JOBS and total + os.path.getsize(path) <= MOST_BYTES:
            files.append(path)
            total += os.path.getsize(path)
    return files


def test_every_archive_is_whole_and_never_three_ran():
    files = chosen_files()
    check(len(files) >= JOBS // 2, f"only {len(files)} real files found")
    with Pool(cpu=SLOTS) as pool, tempfile.TemporaryDirectory() as scratch:
        jobs = []
        for i, path in enumerate(files):
            archive = os.path.join(scratch, f"{i}.xz")
            words = ["run", "--cpu", "1", "--ram", "512M", "--", "sh", "-c", JOB, "job", scratch, path, archive]
            jobs.append((path, archive, pool.spawn(*words, stderr=subprocess.DEVNULL)))
        for path, archive, process in jobs:
            status = wait_exit(process, timeout=120)
            check(status == 0, f"{path}: exit {status}")
        check(not os.path.exists(os.path.join(scratch, "over")), "more than two ran at once")
        for path, archive, _ in jobs:
            with open(path, "rb") as original, lzma.open(archive) as packed:
                same = hashlib.sha256(original.read()).digest() == hashlib.sha256(packed.read()).digest()
            check(same, f"{archive} is not {path}")
        pool.wait_for(held=0, waiting=0)
        return f"{len(files)} files, {sum(map(os.path.getsize, files)) >> 20} MiB"


if __name__ == "__main__":
    main([test_every_archive_is_whole_and_never_three_ran])
