"""--help and berth(1): every verb, every option, the nearest one, a screen of 80 by 24; both from one source."""
import os
import re
import shutil
import subprocess

from berthtest import HERE, Pool, check, main

OPTION = re.compile(r"(?<![\w-])(--?[a-z][a-z-]*)")


def verbs(pool):
    told = pool.run("--help").stdout
    return re.findall(r"^  ([a-z]+)  +\S", told, re.M)


def help_of(pool, verb):
    done = pool.run(verb, "--help")
    check(done.returncode == 0 and done.stderr == "", f"{done}")
    return done.stdout


def options_of(pool, verb):
    """The options that a verb's help lists: those of its indented rows that are no examples."""
    rows = [line for line in help_of(pool, verb).splitlines() if re.match(r"  -", line)]
    # What is said of an option may name another one; that is an option as well.
    return sorted({word for line in rows for word in OPTION.findall(line) if len(word) != 2 or re.search(re.escape(word) + r"[, ]", line)})


def test_every_verb_has_help_on_a_screen():
    with Pool() as pool:
        names = verbs(pool)
        check(set(names) >= {"run", "hold", "status", "set", "unset", "release", "doctor", "demo"}, f"{names}")
        for verb in names:
            text = help_of(pool, verb)
            for words in ((verb, "-h"), ("help", verb), ("--help", verb)):
                check(pool.run(*words).stdout == text, f"berth {' '.join(words)} says otherwise")
            lines = text.splitlines()
            check(len(lines) <= 24 and max(map(len, lines)) <= 80, f"{verb}: {len(lines)} lines, {max(map(len, lines))} columns")
            check(lines[0].startswith(f"berth {verb}"), f"{verb}: no usage first")
            check(re.search(rf"^  .*berth {verb}\b", text, re.M), f"{verb}: no example")
        overview = pool.run("--help").stdout.splitlines()
        check(len(overview) <= 24 and max(map(len, overview)) <= 80, "berth --help")
        check(not [f for f in pool.entries() if f != "pool"], "help does more than say")
    return f"{len(names)} verbs"


def test_what_help_lists_is_taken():
    with Pool() as pool:
        count = 0
        for verb in verbs(pool):
            for option in options_of(pool, verb):
                # One that needs a value takes the next word for it; either way, this is a wrong call.
                done = pool.run(verb, option, "--no-such-thing", "--no-such-thing")
                check(f"unknown option {option} " not in done.stderr and f"unknown option {option};" not in done.stderr,
                      f"berth {verb} {option}: {done.stderr!r}")
                check(done.returncode == 2, f"berth {verb} {option}: {done}")
                count += 1
    return f"{count} options"


def slip(option):
    """A slip of the fingers: two letters change places."""
    at = len(option) - 3
    return option[:at] + option[at + 1] + option[at] + option[at + 2:]


def test_errors_name_the_nearest():
    with Pool() as pool:
        count = 0
        for verb in verbs(pool):
            for option in [o for o in options_of(pool, verb) if len(o) > 5 and slip(o) != o] + ["--help"]:
                done = pool.run(verb, slip(option))
                check(done.returncode == 2 and f"unknown option {slip(option)}; did you mean {option}?" in done.stderr
                      and f"berth {verb} --help" in done.stderr and done.stderr.count("\n") == 1, f"berth {verb} {slip(option)}: {done}")
                count += 1
            check(pool.run(verb, "--" + "z" * 20).stderr.count("did you mean") == 0, f"{verb}: nothing is near")
            done = pool.run(slip(verb))
            check(done.returncode == 2 and f"did you mean {verb}?" in done.stderr, f"berth {slip(verb)}: {done}")
        for verb, option in (("hold", "--nise"), ("run", "--ttk")):
            check("did you mean --nice" not in pool.run("hold", "--nise").stderr, f"{verb} is told of another's option {option}")
        check("berth run" in pool.run("--gpus", "1", "true").stderr, "a call without a verb")
    return f"{count} slips"


def man_page(pool):
    """The page as the build makes it; its path."""
    docs = os.path.join(HERE, "..", "..", "docs")
    if not os.path.exists(os.path.join(docs, "berth.1.in")):
        return None
    parts, page = os.path.join(pool.tmp, "parts"), os.path.join(pool.tmp, "berth.1")
    with open(parts, "w", encoding="utf-8") as f:
        f.write(pool.run("help", "--man").stdout)
    with open(page, "w", encoding="utf-8") as f:
        done = subprocess.run(["awk", "-f", os.path.join(docs, "man.awk"), parts, os.path.join(docs, "berth.1.in")], stdout=f,
                              stderr=subprocess.PIPE, text=True, check=False)
    check(done.returncode == 0 and done.stderr == "", f"{done}")
    return page


def test_the_man_page():
    with Pool() as pool:
        page = man_page(pool)
        if page is None:
            return "skipped: no source of the page here"
        with open(page, encoding="utf-8") as f:
            text = f.read()
        check(not re.search("^@@", text, re.M), "a part is missing")
        rows = re.findall(r"^\.TP\n(\\fB\\-.*)$", text, re.M)
        listed = {word.replace("\\-", "-") for row in rows for word in re.findall(r"\\fB((?:\\-)[^\\]*(?:\\-[^\\]+)*)\\fR", row)}
        helped = {option for verb in verbs(pool) for option in options_of(pool, verb)} - {"--help", "-h"}
        check(listed == helped, f"only in the page: {sorted(listed - helped)}; only in the help: {sorted(helped - listed)}")
        for verb in verbs(pool):
            check(f"\\fBberth {verb}\\fR" in text, f"no synopsis of {verb}")
            for line in help_of(pool, verb).splitlines():
                example = line.strip()
                if line.startswith("  ") and f"berth {verb}" in line:
                    check(example.replace("-", "\\-").replace("'", "\\(aq") in text, f"no example {example!r}")
        said = []
        for words in (["groff", "-man", "-t", "-ww", "-z", page], ["mandoc", "-Tlint", "-Wwarning", page]):
            if not shutil.which(words[0]):
                said.append(f"no {words[0]}")
                continue
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            check(done.stdout + done.stderr == "", f"{words[0]}: {done.stdout}{done.stderr}")
    return ", ".join([f"{len(listed)} options", *said])


main([test_every_verb_has_help_on_a_screen, test_what_help_lists_is_taken, test_errors_name_the_nearest, test_the_man_page])
