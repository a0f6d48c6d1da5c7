"""What docs/PROTOCOL.md shows, as it stands there: a party in a few lines of shell."""
import os
import shutil
import subprocess

from berthtest import HERE, Pool, check, main, wait_exit


def example():
    """The lines of section 9 that are indented."""
    with open(os.path.join(HERE, "..", "..", "docs", "PROTOCOL.md"), encoding="utf-8") as f:
        section = f.read().split("## 9. A party in shell\n")[1].split("\n## ")[0]
    return "\n".join(line[4:] for line in section.splitlines() if line.startswith("    "))


def test_the_shell_example_holds_a_place_for_as_long_as_its_shell_lives():
    tried = []
    for words in (["dash"], ["bash", "--posix"], ["bash"], ["busybox", "sh"], ["zsh"]):
        if not shutil.which(words[0]):
            continue
        tried.append(" ".join(words))
        with Pool(cpu=2) as pool:
            script = example().replace("/run/berth", pool.path)
            check(pool.path in script and script.count("\n") >= 5, f"not the example: {script!r}")
            shell = subprocess.Popen([*words, "-c", script + "\necho held; read line"], env=pool.env, text=True,  # pylint: disable=consider-using-with
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            said = shell.stdout.readline()
            check(said == "held\n", f"{words}: {said!r} {shell.stderr.read() if not said else ''}")
            leases = pool.leases()
            check([(x["state"], x["label"], x["pid"]) for x in leases] == [("held", "by-hand", shell.pid)], f"{words}: {leases}")
            check(pool.run("run", "--cpu", "2", "--no-wait", "--", "true").returncode == 75, "it is counted")
            shell.stdin.close()
            check(wait_exit(shell) != 126 and shell.stderr.read() == "", f"{words} complains")
            check(pool.run("run", "--cpu", "2", "--no-wait", "--", "true").returncode == 0, "its place is free")
    check(tried, "no shell here")
    return ", ".join(tried)


if __name__ == "__main__":
    main([test_the_shell_example_holds_a_place_for_as_long_as_its_shell_lives])
