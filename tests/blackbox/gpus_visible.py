"""What a command sees of the GPUs: MIG slices, inherited variables, machines of AMD's and Intel's as recorded."""
import os

from berthtest import Pool, check, main
from gpukit import Card, end, job, machine, seated, stranger

GIB = 1 << 30
A, B, C = "GPU-aaaa0001", "GPU-aaaa0002", "GPU-bbbb0003"
DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data")
SHOW = ("for v in CUDA_VISIBLE_DEVICES CUDA_DEVICE_ORDER NVIDIA_VISIBLE_DEVICES ROCR_VISIBLE_DEVICES HIP_VISIBLE_DEVICES "
        "ZE_AFFINITY_MASK BERTH_DEVICES; do eval \"test -z \\${$v+x}\" || eval \"echo $v=\\$$v\"; done")


def shown(pool, *claim, expect=0, **inherited):
    """The visibility variables that a command finds; its exit status where none is expected to run."""
    env = {**pool.env, **inherited}
    done = pool.run("run", "--no-wait", *claim, "--", "sh", "-c", SHOW, env=env)
    check(done.returncode == expect, f"{claim} {inherited}: {done}")
    return dict(line.split("=", 1) for line in done.stdout.splitlines())


def three():
    return [Card(A, "0000:17:00.0"), Card(B, "0000:2a:00.0"), Card(C, "0000:c1:00.0")]


# ---------------------------------------------------------------- nvidia

def test_what_a_command_finds():
    with machine(*three()) as (_, pool):
        check(shown(pool, "--only", "1,2", "--gpus", "2") ==
              {"CUDA_VISIBLE_DEVICES": "1,2", "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "NVIDIA_VISIBLE_DEVICES": f"{B},{C}",
               "BERTH_DEVICES": f"{B},{C}"}, "indices in PCI order")
        found = shown(pool, "--only", "1", "--visible", "uuid")
        check(found["CUDA_VISIBLE_DEVICES"] == B, f"{found}")
        check(shown(pool, "--cpu", "1", CUDA_VISIBLE_DEVICES="7", ZE_AFFINITY_MASK="x") ==
              {"CUDA_VISIBLE_DEVICES": "7", "ZE_AFFINITY_MASK": "x"}, "a CPU claim leaves them alone")


def test_inherited_and_narrowed():
    with machine(*three()) as (_, pool):
        cases = [("2", C), (C, C), ("GPU-b", C), ("1,2", f"{B},{C}"), ("2,1", f"{B},{C}"), (f"{C},0", f"{A},{C}"),
                 ("0,7,1", A), ("0,-1,1", A), ("0,GPU-nosuch,1", A), ("2,GPU-a,0", C), ("0,0", A)]
        for value, uuids in cases:
            count = uuids.count(",") + 1
            found = shown(pool, "--gpus", str(count), CUDA_VISIBLE_DEVICES=value)
            check(found["BERTH_DEVICES"] == uuids, f"{value!r}: {found}")
            shown(pool, "--gpus", str(count + 1), expect=3, CUDA_VISIBLE_DEVICES=value)
        for value in ("", "-1", "7", "NoDevFiles", "GPU-a"):
            shown(pool, "--gpus", "1", expect=3, CUDA_VISIBLE_DEVICES=value)
        found = shown(pool, "--only", "2", CUDA_VISIBLE_DEVICES="1,2")
        check(found["CUDA_VISIBLE_DEVICES"] == "2", f"both narrow: {found}")
        shown(pool, "--only", "0", expect=3, CUDA_VISIBLE_DEVICES="1,2")
        done = pool.run("run", "--gpus", "3", "--", "true", env=dict(pool.env, CUDA_VISIBLE_DEVICES="1"))
        check("CUDA_VISIBLE_DEVICES" in done.stderr and "1" in done.stderr, f"it does not say what hides them: {done.stderr!r}")


# ---------------------------------------------------------------- MIG

def mig():
    one, two = "MIG-1111-a", "MIG-2222-b"
    card = Card(A, "0000:17:00.0", "A100", total="80G")
    card.slices = {0: Card(one, name="A100 MIG 3g.40gb", total="40G", util=None), 2: Card(two, name="A100 MIG 2g.20gb", total="20G", util=None)}
    return card, one, two


def test_slices_are_devices():
    card, one, two = mig()
    with machine(card, Card(B, "0000:2a:00.0")) as (gpus, pool):
        devices = pool.status()["devices"]
        check([(d["index"], d["uuid"], d["vram_total"] // GIB) for d in devices] == [(0, one, 40), (1, two, 20), (2, B, 24)], f"{devices}")
        found = shown(pool, "--only", "1")
        check(found == {"CUDA_VISIBLE_DEVICES": two, "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "NVIDIA_VISIBLE_DEVICES": two,
                        "BERTH_DEVICES": two}, f"{found}")
        found = shown(pool, "--only", "2")
        check(found["CUDA_VISIBLE_DEVICES"] == "1", f"the whole card's number is CUDA's, not ours: {found}")
        found = shown(pool, "--vram", "30G")
        check(found["BERTH_DEVICES"] == one, f"{found}")
        shown(pool, "--vram", "41G", expect=3)
        found = shown(pool, "--gpus", "1", CUDA_VISIBLE_DEVICES=two)
        check(found["CUDA_VISIBLE_DEVICES"] == two, f"inherited: {found}")
        first = job(pool, "--only", one)
        seated(pool, first)
        other = stranger(pool, gpus, two, "5G")
        check(shown(pool, "--only", "1", "--vram", "15G")["BERTH_DEVICES"] == two, "15 of 20 are left")
        shown(pool, "--only", "1", "--vram", "16G", expect=75)
        shown(pool, "--only", "0,1", expect=75)
        other.kill()
        other.wait()
        end(first)


def test_mig_mode_without_a_slice():
    card = Card(A, "0000:17:00.0", total="80G")
    card.more = ["mig on"]
    with machine(card) as (_, pool):
        done = pool.run("run", "--", "true")
        check(done.returncode == 4 and "no MIG device" in done.stderr, f"{done}")
        check("no MIG device" in pool.status()["devices"][0]["trouble"], f"{pool.status()['devices']}")


# ---------------------------------------------------------------- recorded machines

def recorded(name):
    return Pool(env={"BERTH_SYSFS_ROOT": os.path.join(DATA, name), "LD_LIBRARY_PATH": ""})


def test_two_amd_cards():
    with recorded("amd-mi210-pair") as pool:
        devices = pool.status()["devices"]
        check([d["vendor"] for d in devices] == ["amd"] * len(devices) and len(devices) >= 2, f"{devices}")
        usable = [d for d in devices if not d["trouble"]]
        check(len(usable) == 2 and all(d["vram_total"] > 60 * GIB for d in usable), f"{devices}")
        for d in usable:
            found = shown(pool, "--vram", "1G", "--only", d["uuid"], HIP_VISIBLE_DEVICES="3", CUDA_VISIBLE_DEVICES="0")
            check(found["BERTH_DEVICES"] == d["uuid"] and found["ROCR_VISIBLE_DEVICES"].isdigit(), f"{found}")
            check(not {"HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"} & set(found), f"{found}")
            by_number = shown(pool, "--vram", "1G", ROCR_VISIBLE_DEVICES=found["ROCR_VISIBLE_DEVICES"])
            check(by_number["BERTH_DEVICES"] == d["uuid"], f"inherited by number: {by_number}")
            uuid = shown(pool, "--vram", "1G", "--visible", "uuid", ROCR_VISIBLE_DEVICES=d["uuid"])
            check(uuid["ROCR_VISIBLE_DEVICES"] == d["uuid"], f"{uuid}")
        shown(pool, "--vram", "1G", expect=3, ROCR_VISIBLE_DEVICES="")
        both = shown(pool, "--vram", "1G", "--gpus", "2")
        # In PCI order, by ROCm's own numbers, which go the other way here.
        check(both["ROCR_VISIBLE_DEVICES"] == "1,0", f"{both}")
        done = pool.run("run", "--dry-run", "--vram", "1G", "--", "true")
        check(done.returncode == 0 and "would start now on GPU" in done.stdout, f"{done}")


def test_intel_cards():
    for name, least in (("intel-a770-xe", 1), ("intel-a770-i915", 2)):
        with recorded(name) as pool:
            devices = pool.status()["devices"]
            check(len(devices) >= least and {d["vendor"] for d in devices} == {"intel"}, f"{name}: {devices}")
            d = next(d for d in devices if d["vram_total"] > GIB)
            found = shown(pool, "--vram", "64M", "--only", d["uuid"], CUDA_VISIBLE_DEVICES="0")
            check(found["ZE_AFFINITY_MASK"].isdigit() and found["BERTH_DEVICES"] == d["uuid"], f"{name}: {found}")
            check(found["CUDA_VISIBLE_DEVICES"] == "0", f"{name}: another vendor's is left alone: {found}")
            again = shown(pool, "--vram", "64M", ZE_AFFINITY_MASK=found["ZE_AFFINITY_MASK"] + ".0")
            check(again["BERTH_DEVICES"] == d["uuid"], f"{name}: a tile of it: {again}")
            shown(pool, "--vram", "64M", expect=3, ZE_AFFINITY_MASK="9")


def test_a_card_of_unknown_size():
    """Integrated graphics: there is no size that a share could be taken of."""
    with recorded("intel-laptop") as pool:
        check(shown(pool)["ZE_AFFINITY_MASK"] == "0", "all of it")
        done = pool.run("run", "--vram", "1G", "--", "true")
        check(done.returncode == 3 and "does not say" in done.stderr, f"{done}")
        check("0 B" not in pool.run("status").stdout.splitlines()[7], f"{pool.run('status').stdout}")


def test_every_recorded_machine_is_read():
    names = sorted(n for n in os.listdir(DATA) if n.startswith(("amd-", "intel-")))
    check(len(names) >= 6, f"{names}")
    said = []
    for name in names:
        with recorded(name) as pool:
            status = pool.status()
            check(status["devices"], f"{name}: {status}")
            check(len({d["uuid"] for d in status["devices"]}) == len(status["devices"]), f"{name}: not one UUID each: {status}")
            for d in status["devices"]:
                check(d["vram_total"] > 0 or d["trouble"] or d["vendor"] == "intel", f"{name}: {d}")
                check(d["vram_used"] is None or d["vram_total"] == 0 or d["vram_used"] <= d["vram_total"], f"{name}: {d}")
            check(pool.run("status").returncode == 0, name)
            code = pool.run("run", "--dry-run", "--", "true").returncode
            check(code in (0, 75), f"{name}: exit {code}")
            said.append(f"{name} {len(status['devices'])}")
    return ", ".join(said)


def test_amd_beside_nvidia():
    with machine(Card(A, "0000:17:00.0")) as (_, pool):
        pool.env["BERTH_SYSFS_ROOT"] = os.path.join(DATA, "amd-mi210-pair")
        devices = pool.status()["devices"]
        check(devices[0]["uuid"] == A and devices[1]["vendor"] == "amd", f"nvidia first: {devices}")
        amd = next(d for d in devices if d["vendor"] == "amd" and not d["trouble"])
        found = shown(pool, "--only", amd["uuid"], "--vram", "1G")
        number = found["ROCR_VISIBLE_DEVICES"]
        check(number == "1", f"the vendor's own number: {found}")
        found = shown(pool, "--gpus", "2", "--vram", "1G", "--only", f"{A},{amd['uuid']}", HIP_VISIBLE_DEVICES="5")
        check((found["CUDA_VISIBLE_DEVICES"], found["ROCR_VISIBLE_DEVICES"]) == ("0", number), f"{found}")
        check("HIP_VISIBLE_DEVICES" not in found and found["BERTH_DEVICES"] == f"{A},{amd['uuid']}", f"{found}")


if __name__ == "__main__":
    main([value for name, value in list(globals().items()) if name.startswith("test_")])
