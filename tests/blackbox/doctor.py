"""doctor finds what is wrong, says whose it is, and its mends mend: each command it prints is run, and it is asked again."""
import os
import re
import subprocess
import sys
import time

from berthtest import check, children, kill, main, wait_until
from faultkit import public_berth

ANNE, BERT = 1001, 1002


class World:
    """A mount namespace with a /run and a /dev/shm of its own; the default pools of the machine are out of reach.

    Nobody has a name in it: which of our uids the machine knows by one is its own affair."""

    def __init__(self, more="", words=()):
        self.berth = public_berth()
        nameless = "mount --bind /dev/null /etc/passwd && mount --bind /dev/null /etc/group"
        script = f"mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /dev/shm && {nameless} && {more or ':'} && echo ready && exec sleep 600"
        self.holder = subprocess.Popen(["unshare", "-m", *words, "sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.ready = self.holder.stdout.readline() == b"ready\n"
        self.inside = self.holder.pid
        self.enter = ["-m"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        kill(self.holder.pid)
        self.holder.wait()
        return False

    def command(self, script, uid=0, **env):
        words = ["nsenter", "-t", str(self.inside), *self.enter, "--"]
        if uid:
            words += ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
        keep = {"PATH": os.path.dirname(self.berth) + ":/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", **env}
        return words + ["env", "-i", *[f"{k}={v}" for k, v in keep.items()], "sh", "-c", script]

    def sh(self, script, uid=0, **env):
        return subprocess.run(self.command(script, uid, **env), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
                              cwd=os.path.dirname(self.berth))

    def must(self, script, uid=0, **env):
        done = self.sh(script, uid, **env)
        check(done.returncode == 0, f"{script}: {done}")
        return done.stdout

    def start(self, script, uid=0, **env):
        return subprocess.Popen(self.command(script, uid, **env), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def doctor(self, uid=0, before="", **env):
        """What doctor says: {a sentence that is wrong: its mends}, the whole text."""
        done = self.sh(before + "exec berth doctor", uid, **env)
        wrong = {}
        for line in done.stdout.splitlines():
            if line.startswith("WRONG "):
                wrong[line[6:]] = []
                last = wrong[line[6:]]
            elif line.startswith("      mend: "):
                last.append(line[12:])
            else:
                check(line[:6] in ("ok    ", "note  ") or re.fullmatch(r"All is well\.|\d+ to mend\.", line), f"a line of its own kind: {line!r}")
        check(done.returncode == (1 if wrong else 0) and done.stderr == "", f"{done}")
        check(all(wrong.values()), f"without a mend: {wrong}")
        return wrong, done.stdout

    def mended(self, fragment, uid=0, left=(), **env):
        """Doctor finds exactly `fragment` (and `left`); every command it prints for that is run; then only `left` is found."""
        wrong, text = self.doctor(uid, **env)
        found = [sentence for sentence in wrong if fragment in sentence]
        check(len(found) == 1, f"not once {fragment!r}:\n{text}")
        others = [s for s in wrong if s != found[0]]
        check(len(others) == len(left) and all(any(word in s for s in others) for word in left), f"besides {fragment!r}:\n{text}")
        ran = []
        before = ""
        for mend in wrong[found[0]]:
            if mend[:2] not in ("# ", "$ "):
                continue
            ran.append(mend[2:])
            if mend[2:].split()[0] in ("unset", "export"):
                before += mend[2:] + "; "
            else:
                self.must(mend[2:], 0 if mend[0] == "#" else uid, **env)
        check(ran, f"no command: {text}")
        after, text_after = self.doctor(uid, before, **env)
        check(not any(fragment in sentence for sentence in after), f"{ran} did not mend it:\n{text_after}")
        return found[0], ran, text


def no_world():
    if os.geteuid() != 0:
        return "not root"
    with World() as world:
        if not world.ready:
            return f"no mount namespace here: {world.holder.stderr.read().decode().strip()}"
        return "" if world.sh("true", ANNE).returncode == 0 else "no nsenter or setpriv here"


def hold(world, uid, pool, claim="-r slot=1"):
    """A job of this user that runs until it is killed; the process of berth."""
    process = world.start(f"exec berth run {claim} -- sleep 600", uid, BERTH_POOL=pool)
    wait_until(lambda: f'"pid":{process.pid},' in world.must("berth status --json", BERTH_POOL=pool), 10, "the job to hold")
    return process


SHARED = "/dev/shm/pool"


def shared(world, **capacities):
    world.must("berth set slot=4" + "".join(f" {k}={v}" for k, v in capacities.items()), BERTH_POOL=SHARED)


def test_all_is_well():
    with World("mkdir -m 1777 /run/berth") as world:
        wrong, text = world.doctor(ANNE)
        check(not wrong and text.endswith("All is well.\n"), text)
        for words in ("the pool is /run/berth (a default)", "it belongs to root, has mode 1777, and is for every user",
                      "it is on a tmpfs of this machine, /run, with", "nobody holds or waits for anything", "nobody sits on the pool's lock"):
            check(words in text, f"no {words!r} in\n{text}")
    with World() as world:
        wrong, text = world.doctor(ANNE)
        check(not wrong and "nobody has made it yet" in text and "/dev/shm/berth (a default)" in text, text)


def test_two_default_pools():
    with World("mkdir -m 1777 /dev/shm/berth") as world:
        job = world.start("exec berth run --cpu 1 -- sleep 600", ANNE)
        wait_until(lambda: world.must("berth status --short", ANNE).startswith("1 held"), 10, "anne to hold in /dev/shm/berth")
        # Root's first berth run makes /run/berth, and everybody goes there from now on: said before and after.
        for made in (False, True):
            if made:
                world.must("berth run --cpu 1 -- true")
            wrong, text = world.doctor()
            check(any("two default pools" in w for w in wrong) and "(1 in /dev/shm/berth)" in text, text)
            check(("which nobody has made yet" in text) == (not made), text)
            table = world.must("berth status")
            check(table.count("note: ") == 1 and "/dev/shm/berth, and 1 in it do not see this one" in table, table)
            check('"notes":["there is a second default pool' in world.must("berth status --json"), "status --json")
        check("note" not in world.must("berth status", BERTH_POOL="/run/berth"), "who names a pool is not told of others")
        for pid in children(job.pid) + [job.pid]:
            kill(pid)
        job.wait()
        wait_until(lambda: "note" not in world.must("berth status"), 10, "the note to go with the last party")
        world.mended("two default pools")
        check(not world.doctor()[0], "something is left")


def test_removeipc():
    with World("mkdir -p /run/systemd/system") as world:
        world.must("berth run --cpu 1 -- true", ANNE)
        sentence, _, _ = world.mended("RemoveIPC", ANNE)
        check("last logout" in sentence, sentence)
        check("/run/berth (a default)" in world.doctor(ANNE)[1], "the mend leads elsewhere")
    with World("mkdir -p /run/systemd/system") as world:
        world.must("berth run --cpu 1 -- true", ANNE, BERTH_POOL=SHARED)
        world.mended("RemoveIPC", ANNE, BERTH_POOL=SHARED)
    with World("mkdir -p /run/systemd/system /run/systemd/logind.conf.d && echo RemoveIPC=no > /run/systemd/logind.conf.d/1.conf") as world:
        check(not world.doctor(ANNE)[0], "RemoveIPC=no is not believed")


def test_a_container():
    """In a PID namespace of its own, with a pool that nobody else sees."""
    with World("mkdir -m 1777 /run/berth", ["-p", "--fork", "--mount-proc"]) as world:
        if not world.ready:
            return "skipped: no PID namespace here"
        world.inside = children(world.holder.pid)[0]
        world.enter = ["-m", "-p"]
        wrong, text = world.doctor()
        mends = [mends for sentence, mends in wrong.items() if "container" in sentence]
        check(len(mends) == 1 and "docker run -v /run/berth:/run/berth" in mends[0][0], text)
        world.must("mount -t tmpfs -o mode=1777 tmpfs /run/berth")  # what -v does
        check(not world.doctor()[0], "a shared pool is found wrong")
        kill(world.inside)
    return ""


def test_what_cannot_be_a_pool():
    for make, fragment, env in (("ln -s /dev/shm/elsewhere /run/berth", "symbolic link", {}),
                                (": > /run/berth", "Not a directory", {}),
                                ("mkdir -m 1777 /run/berth && mount --bind /var/tmp /run/berth", "tmpfs", {}),
                                ("mkdir -m 700 /run/berth", "Permission denied", {}),
                                ("ln -s /dev/shm/x /dev/shm/pool", "symbolic link", {"BERTH_POOL": SHARED}),
                                (":", "tmpfs", {"BERTH_POOL": "/usr"})):
        with World(make) as world:
            world.mended(fragment, ANNE, **env)
            check(not world.doctor(ANNE, "unset BERTH_POOL; ", **env)[0], f"{make}: something is left")


def test_a_pool_that_cannot_be_made():
    with World("mkdir -m 755 /run/closed && mkdir /dev/shm/full && mount -t tmpfs -o ro tmpfs /dev/shm/full") as world:
        for uid, pool, why in ((0, "/dev/shm/none/pool", "/dev/shm/none: No such file or directory"),
                               (ANNE, "/run/closed/pool", "Permission denied"), (0, "/proc/pool", "no tmpfs"),
                               (0, "/dev/shm/full/pool", "Read-only file system")):
            sentence, _, text = world.mended("cannot make the pool " + pool, uid, BERTH_POOL=pool)
            check(why in sentence and "nobody has made it yet" not in text, text)
            done = world.sh("berth run --cpu 1 true", uid, BERTH_POOL=pool)
            check(done.returncode == 125, f"it could be made: {done}")
        for uid, pool in ((ANNE, "/dev/shm/pool"), (0, "/run/closed/pool")):
            wrong, text = world.doctor(uid, BERTH_POOL=pool)
            check(not wrong and "nobody has made it yet" in text, text)


def test_owner_mode_and_space():
    with World() as world:
        shared(world)
        world.must(f"chmod 777 {SHARED}")
        world.mended("sticky bit", BERTH_POOL=SHARED)
        world.must(f"chmod 755 {SHARED}")
        world.mended("you cannot write to it", ANNE, BERTH_POOL=SHARED)
        world.must(f"chmod 2770 {SHARED}; chgrp 1003 {SHARED}")
        _, _, text = world.mended("Permission denied", ANNE, BERTH_POOL=SHARED)
        world.must(f"chmod 2775 {SHARED}")
        _, _, text = world.mended("you cannot write to it", ANNE, BERTH_POOL=SHARED)
        check("the group 1003" in text and "join the group 1003" in text, text)
    with World() as world:
        world.must("mkdir -m 1777 /run/pool; berth set slot=1", ANNE, BERTH_POOL=SHARED)
        check("it belongs to 1001" in world.doctor(BERTH_POOL=SHARED)[1], "whose it is")
    with World("mount -o remount,size=1m,nr_inodes=200 /dev/shm") as world:
        shared(world)
        world.must("head -c 2m /dev/zero > /dev/shm/filler || :")
        world.mended("file system is full", BERTH_POOL=SHARED)
        world.must("rm /dev/shm/filler; i=0; while touch /dev/shm/file.$i; do i=$((i+1)); done 2>/dev/null || :")
        world.mended("no inode left", BERTH_POOL=SHARED)


def test_settings():
    with World() as world:
        shared(world)
        for target, fragment in (("rubbish", "garbled"), ("berth=1 cpu=2 slot=99", "written by uid 1001")):
            world.must(f"rm -rf {SHARED}/pool; ln -s '{target}' {SHARED}/pool; chown -h 1001 {SHARED}/pool")
            world.mended(fragment, BERTH_POOL=SHARED)
        world.must(f"mkdir {SHARED}/pool")
        world.mended("not a symbolic link", BERTH_POOL=SHARED)


RECORD = "h{version},{id},{uid},1795272018228294,0,0,1795272018228311,-,slot=1"


def lay(world, name, uid, target="\\npid 1"):
    world.must(f"ln -s \"$(printf '{target}')\" \"$N\"", uid, N=f"{SHARED}/{name}")


def test_records():
    with World() as world:
        shared(world)
        lay(world, RECORD.format(version=2, id="aaaaaaaaaa", uid=ANNE), ANNE)
        sentence, ran, _ = world.mended("newer berth", BERTH_POOL=SHARED)
        check("of 1001" in sentence and "h2,aaaaaaaaaa" in ran[0], f"{sentence}: {ran}")
        # Garbled ones, with names that a shell would trip over: none of them comes near it.
        names = ("h1,short", "w1,it's,bad", "a1,$(touch run-by-shell),x", "h1,new\nline", "h1,;rm -r *", "h1,esc\x1b[2J")
        for name in names:
            lay(world, name, BERT)
            _, ran, text = world.mended("cannot be read", ANNE, BERTH_POOL=SHARED)
            check(len(ran) == 1 and "\x1b" not in text, f"{ran}")
        for name in names:
            lay(world, name, BERT)
        sentence, ran, _ = world.mended("cannot be read", ANNE, BERTH_POOL=SHARED)
        check("6 entries of 1002" in sentence and len(ran) == 1, f"{sentence}: {ran}")
        check(not os.path.exists(os.path.join(os.path.dirname(world.berth), "run-by-shell")), "a name was run")
        # The dead and the strange are told of and need no mend.
        lay(world, RECORD.format(version=1, id="bbbbbbbbbb", uid=BERT), BERT)
        world.must(f"mkdir {SHARED}/something")
        wrong, text = world.doctor(ANNE, BERTH_POOL=SHARED)
        check(not wrong and "1 dead record of 1002" in text and "1 other entry" in text, text)
        # A record that speaks of another's lease.
        job = hold(world, ANNE, SHARED)
        id_ = re.search(r'"id":"(\w+)"', world.must("berth status --json", BERTH_POOL=SHARED))[1]
        lay(world, RECORD.format(version=1, id="cccccccccc", uid=BERT) + "," + id_, BERT)
        wrong, text = world.doctor(ANNE, BERTH_POOL=SHARED)
        check(not wrong and "1 record of 1002 inside a lease" in text and "1 held, 0 waiting" in text, text)
        kill(job.pid)
        job.wait()


def test_closed_directories():
    with World() as world:
        shared(world)
        job = hold(world, ANNE, SHARED)
        life = world.must(f"echo {SHARED}/u1001/*.l").strip()
        for closed, mode, fragment in ((f"{SHARED}/u1001", "700", "1001 has closed u1001"), (life, "600", "1001 has closed the life of")):
            world.must(f"chmod {mode} {closed}", ANNE)
            if mode == "700":
                for uid in (0, ANNE, BERT):
                    check("note: 1001 has closed u1001" in world.must("berth status", uid, BERTH_POOL=SHARED), f"status as {uid}")
            else:
                check("note: 1001 hides" in world.must("berth status", BERT, BERTH_POOL=SHARED), "status of a hidden life")
            for uid in (0, BERT, ANNE):
                world.must(f"chmod {mode} {closed}", ANNE)
                _, ran, _ = world.mended(fragment, uid, BERTH_POOL=SHARED)
                check(len(ran) == 1 and ran[0].startswith("chmod "), f"{ran}")
        check("note" not in world.must("berth status", BERT, BERTH_POOL=SHARED), "the note stays")
        kill(job.pid)
        job.wait()


def test_other_uids():
    with World() as world:
        shared(world)
        world.must(f"mkdir {SHARED}/u1001", BERT)
        job = hold(world, ANNE, SHARED)
        wrong, text = world.doctor(BERTH_POOL=SHARED)
        check(not wrong and "u1001 belongs to 1002: whoever has uid 1001 uses another name" in text, text)
        check(os.path.basename(world.must(f"echo {SHARED}/u1001.1").strip()) == "u1001.1", "anne went elsewhere")
        kill(job.pid)
        job.wait()


def test_the_lock():
    with World() as world:
        shared(world)
        # A stopped one: continue it.
        script = f"exec python3 -c 'import fcntl, os, signal, time; fd = os.open(\"{SHARED}\", 0); fcntl.flock(fd, 2); " \
                 "os.kill(os.getpid(), signal.SIGSTOP); os.close(fd); time.sleep(600)'"
        sitter = world.start(script)
        wait_until(lambda: open(f"/proc/{sitter.pid}/stat", encoding="ascii").read().rsplit(")", 1)[1].split()[0] == "T", 10, "a stopped holder")
        sentence, ran, _ = world.mended("lock is held by", BERTH_POOL=SHARED)
        check(f"pid {sitter.pid} (python3, stopped)" in sentence and ran == [f"kill -CONT {sitter.pid}"], f"{sentence}: {ran}")
        kill(sitter.pid)
        sitter.wait()
        # One that sits there: end it.
        sitter = world.start(f"exec flock {SHARED} -c 'exec sleep 600'")
        wait_until(lambda: children(sitter.pid), 10, "a sitter")
        begun = time.monotonic()
        wrong, text = world.doctor(BERTH_POOL=SHARED)
        check(any("for over a second" in w for w in wrong) and time.monotonic() - begun < 4, text)
        pid = int(re.search(r"kill (\d+)", text)[1])
        check(pid in children(sitter.pid) + [sitter.pid], text)
        for one in children(sitter.pid) + [sitter.pid]:
            kill(one)
        sitter.wait()
        check("nobody sits" in world.doctor(BERTH_POOL=SHARED)[1], "the lock")


def test_simulated_gpus_that_are_none():
    with World() as world:
        world.mended("BERTH_SIM_GPUS", BERTH_SIM_GPUS="2x24Q")


if __name__ == "__main__":
    WHY = no_world()
    if WHY:
        print("skipped: " + WHY)
        sys.exit(77)
    main([value for name, value in list(globals().items()) if name.startswith("test_")])
