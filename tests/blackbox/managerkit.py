"""A stand-in for systemd's manager, and for the memory controller it gives: real enough for a real libsystemd to talk to.

It speaks D-Bus as the specification has it (https://dbus.freedesktop.org/doc/dbus-specification.html) on a socket below a
recorded machine's root: on "its own" socket, or on that of a message bus which it then plays too.
"""
import os
import socket
import struct
import threading
import time

SLICE = "/user.slice/user-0.slice"
# What the kernel makes with a group.
FILES = {"memory.max": "max", "memory.high": "max", "memory.swap.max": "max", "memory.oom.group": "0", "memory.peak": "0",
         "memory.stat": "anon 0\nfile 0\nshmem 0\n", "memory.events": "oom 0\noom_kill 0\n"}


class Wire:
    """Reads values off a message."""

    def __init__(self, data, at=0, order="<"):
        self.data, self.at, self.order = data, at, order

    def pad(self, to):
        self.at += -self.at % to

    def number(self, kind):
        size = struct.calcsize(kind)
        self.pad(size)
        value = struct.unpack_from(self.order + kind, self.data, self.at)[0]
        self.at += size
        return value

    def value(self, sig):
        """One value of the type that `sig` begins with, and the rest of `sig`."""
        kind, rest = sig[0], sig[1:]
        if kind in "ybnqiuxtd":
            return self.number({"y": "B", "b": "I", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d"}[kind]), rest
        if kind in "sog":
            size = self.number("B" if kind == "g" else "I")
            text = self.data[self.at:self.at + size].decode()
            self.at += size + 1
            return text, rest
        if kind == "v":
            return self.value(self.value("g")[0])[0], rest
        if kind == "(":
            self.pad(8)
            out = []
            while rest[0] != ")":
                one, rest = self.value(rest)
                out.append(one)
            return tuple(out), rest[1:]
        if kind == "a":
            size = self.number("I")
            self.pad(8 if rest[0] in "({xtd" else 4 if rest[0] in "asoiub" else 1)
            end, out, after = self.at + size, [], skip(rest)
            while self.at < end:
                out.append(self.value(rest)[0])
            return out, after
        raise ValueError(sig)


def skip(sig):
    """`sig` without its first type."""
    if sig[0] == "a":
        return skip(sig[1:])
    if sig[0] != "(":
        return sig[1:]
    depth = 0
    for i, c in enumerate(sig):
        depth += (c == "(") - (c == ")")
        if depth == 0:
            return sig[i + 1:]
    raise ValueError(sig)


def text(value):
    data = value.encode()
    return struct.pack("<I", len(data)) + data + b"\0"


def padded(data, to):
    return data + b"\0" * (-len(data) % to)


def message(kind, serial, fields, signature="", values=()):
    """A little-endian message; `fields`: {code: (type, value)}; `values` only of the types s, o and u."""
    body = b""
    for sig, value in zip(signature, values):
        body = padded(body, 4) + (struct.pack("<I", value) if sig == "u" else text(value))
    if signature:
        fields = {**fields, 8: ("g", signature)}
    head = b""
    for code, (sig, value) in sorted(fields.items()):
        head = padded(head, 8) + bytes([code, 1]) + sig.encode() + b"\0"
        if sig == "u":
            head = padded(head, 4) + struct.pack("<I", value)
        elif sig == "g":
            head += bytes([len(value)]) + value.encode() + b"\0"
        else:
            head = padded(head, 4) + text(value)
    return padded(struct.pack("<cBBBIII", b"l", kind, 0, 1, len(body), serial, len(head)) + head, 8) + body


class Manager:
    """`way`: well, deaf (never answers the greeting), mute (nothing else), refuses, fails (the job does), garbage, hangs_up, late,
    unlimited (the scope is made, without the memory controller)."""

    def __init__(self, root, way="well", bus=False):
        self.root, self.way, self.bus = root, way, bus
        self.scopes, self.calls = [], []
        self.write("sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n")
        self.write("proc/self/cgroup", f"0::{SLICE}/session-1.scope\n")
        self.write(f"sys/fs/cgroup{SLICE}/session-1.scope/cgroup.procs", "")
        if os.geteuid() == 0:
            at = "run/dbus/system_bus_socket" if bus else "run/systemd/private"
        else:
            at = f"run/user/{os.geteuid()}/" + ("bus" if bus else "systemd/private")
        path = os.path.join(root, at)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(16)
        self.talks = []
        threading.Thread(target=self.serve, daemon=True).start()

    def write(self, name, content):
        path = os.path.join(self.root, name.lstrip("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path + ".new", "w", encoding="ascii") as f:
            f.write(content)
        os.rename(path + ".new", path)

    def group(self, unit):
        return os.path.join(self.root, f"sys/fs/cgroup{SLICE}/user@0.service/app.slice", unit)

    def read(self, unit, name):
        with open(os.path.join(self.group(unit), name), encoding="ascii") as f:
            return f.read().strip()

    def serve(self):
        while True:
            try:
                talk, _ = self.listener.accept()
            except OSError:
                return
            self.talks.append(talk)
            if self.way != "deaf":
                threading.Thread(target=self.converse, args=(talk,), daemon=True).start()

    def converse(self, talk):
        try:
            self.greet(talk)
            if self.way == "hangs_up":
                talk.close()
                return
            if self.way == "garbage":
                talk.sendall(os.urandom(4096))
                return
            self.answer(talk)
        except (OSError, EOFError):
            pass

    def greet(self, talk):
        """Byte by byte: the first message may be right behind."""
        line = b""
        while True:
            byte = talk.recv(1)
            if not byte:
                raise EOFError
            line += byte
            if not line.endswith(b"\r\n"):
                continue
            words = line.strip(b"\0\r\n").split()
            line = b""
            if words[0] == b"BEGIN":
                return
            ok = b"OK 0123456789abcdef0123456789abcdef"
            talk.sendall({b"AUTH": ok if len(words) > 2 else b"DATA", b"DATA": ok, b"NEGOTIATE_UNIX_FD": b"AGREE_UNIX_FD"}[words[0]] + b"\r\n")

    def answer(self, talk):
        pid = struct.unpack("3i", talk.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]
        sender = {7: ("s", "org.freedesktop.systemd1")} if self.bus else {}
        data = b""
        while True:
            while True:
                if len(data) >= 16:
                    body, _, head = struct.unpack_from("<III", data, 4)
                    begin = 16 + head + -head % 8
                    if len(data) >= begin + body:
                        break
                more = talk.recv(65536)
                if not more:
                    return
                data += more
            wire = Wire(data)
            wire.at = 12
            fields = dict(wire.value("a(yv)")[0])
            wire = Wire(data[begin:begin + body])
            signature, values = fields.get(8, ""), []
            while signature:
                one, signature = wire.value(signature)
                values.append(one)
            serial = struct.unpack_from("<I", data, 8)[0]
            data = data[begin + body:]
            self.heard(talk, pid, sender, fields, serial, values)

    def heard(self, talk, pid, sender, fields, serial, values):
        member = fields[3]
        reply = {5: ("u", serial), **sender}
        if member == "Hello":
            talk.sendall(message(2, 1, {5: ("u", serial), 6: ("s", ":1.7"), 7: ("s", "org.freedesktop.DBus")}, "s", [":1.7"]))
            return
        if member == "AddMatch":
            talk.sendall(message(2, 5, {5: ("u", serial), 7: ("s", "org.freedesktop.DBus")}))
            return
        self.calls.append((member, values))
        if self.way == "mute":
            return
        if member == "SetUnitProperties" and self.way == "well":
            talk.sendall(message(2, 4, reply))
        if member != "StartTransientUnit":
            return
        if self.way == "refuses":
            talk.sendall(message(3, 2, {4: ("s", "org.freedesktop.DBus.Error.AccessDenied"), **reply}, "s", ["no"]))
            return
        if self.way == "late":
            time.sleep(2.5)
        unit, properties = values[0], dict(values[2])
        if self.way != "fails":
            self.make(unit, properties, pid)
        job = "/org/freedesktop/systemd1/job/7"
        talk.sendall(message(2, 2, reply, "o", [job]))
        signal = {1: ("o", "/org/freedesktop/systemd1"), 2: ("s", "org.freedesktop.systemd1.Manager"), 3: ("s", "JobRemoved"), **sender}
        for of, result in (("other.scope", "failed"), (unit, "failed" if self.way == "fails" else "done")):
            talk.sendall(message(4, 3, signal, "uoss", [7, job, of, result]))

    def make(self, unit, properties, pid):
        os.makedirs(self.group(unit))
        for name, content in FILES.items():
            self.write(os.path.join(self.group(unit)[len(self.root):], name), content + "\n")
        if self.way == "unlimited":
            os.unlink(os.path.join(self.group(unit), "memory.max"))
        else:
            for name, key in (("memory.max", "MemoryMax"), ("memory.high", "MemoryHigh"), ("memory.swap.max", "MemorySwapMax")):
                self.write(os.path.join(self.group(unit)[len(self.root):], name), f"{properties[key]}\n")
        line = f"0::{SLICE}/user@0.service/app.slice/{unit}\n"
        who = [other or pid for other in properties["PIDs"]]
        for other in [*who, "self"]:
            self.write(f"proc/{other}/cgroup", line)
        self.scopes.append((unit, properties, who))
