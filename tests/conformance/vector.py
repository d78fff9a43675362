"""Reads vectors and checks them before anything runs. README.md says what each step means."""
import collections
import dataclasses
import os
import re

REFUSED = {"recursion_too_deep", "foreign_pid_namespace"}
ACQUIRED = {"acquired", "reentered", "inherited"} | REFUSED
LOCKED = {"done", "owner_dead"} | REFUSED
NAMED = {"done", "file_exists", "file_missing", "invalid_name", "layout_mismatch", "not_trusted"}
RESULTS = {  # of each command; None stands for a number
    "acquire": ACQUIRED | {"timeout", "blocks"}, "try": ACQUIRED | {"busy"},
    "lock": LOCKED | {"blocks"}, "try_lock": LOCKED | {"busy"},
    "release": {"done", "not_owner", "wakes"}, "repaired": {"done", "not_owner"},
    "depth": None, "flag": {"yes", "no"}, "owner": {"nobody"}, "tid": set(), "end": {"done"},
    "create": NAMED, "open": NAMED, "open_or_create": NAMED, "remove": NAMED, "close": {"done"}}
ON_NAMES = {"create", "open", "open_or_create", "remove", "close"}
CAPABILITIES = {"threads", "fork", "exec", "death", "poison", "query", "names", "layout"}
FIELDS = {"word": (0, 4), "depth": (4, 4), "pid_namespace": (8, 4), "reserved": (12, 4), "owner_id": (16, 8)}  # offset, size
FLAGS = {"OWNER_DIED": 1 << 30, "WAITERS": 1 << 31}
PID_NAMESPACE = os.stat("/proc/self/ns/pid").st_ino

THREAD = r"[A-Z](?:\.[1-9]\d*)?|first|other"
STEPS = [re.compile(text) for text in (
    r"(?P<verb>kill|stop|continue) (?P<who>[A-Z]|first|other)",
    rf"(?P<verb>fork) (?P<who>{THREAD}) (?P<argument>[A-Z])",
    rf"(?P<verb>see) (?P<argument>{'|'.join(FIELDS)}|pending)(?: @(?P<lock>\d+))? -> (?P<expected>.+)",
    rf"(?P<verb>set) (?P<argument>{'|'.join(FIELDS)})(?: @(?P<lock>\d+))? (?P<expected>[^@].*)",
    r"(?P<verb>set) (?P<argument>byte \d+|mode|size) @(?P<lock>[^\s\d]\S*) (?P<expected>\d+)",
    rf"(?P<who>{THREAD}) (?P<verb>exec|exit)",
    rf"(?P<who>{THREAD}) (?P<verb>still) blocks(?: (?P<argument>\d+)ms)?",
    rf"(?P<who>{THREAD})(?:\|(?P<rival>{THREAD}))? (?P<verb>unblocks)(?P<soon> soon)? -> (?P<expected>\S+)",
    rf"(?P<who>{THREAD}) (?P<verb>polls)(?: @(?P<lock>\d+))?(?: (?P<argument>0|-\d+)ms)? -> (?P<expected>\S+)",
    rf"(?P<who>{THREAD}) (?P<verb>{'|'.join(RESULTS)})(?: @(?P<lock>\S+))?(?: (?P<argument>-?\d+)ms)? -> (?P<expected>\S+)")]

HEAD = {"Spec": "the rules that it proves, such as lock.try.busy", "Claim": "its claim, in a sentence"}


class Bad(Exception):
    """The user gave something wrong. Ends the run with status 2."""


@dataclasses.dataclass
class Step:
    line: int
    text: str
    verb: str
    who: str = None       # a thread, or the first thread of a process
    rival: str = None     # the second of the two in `B|C unblocks`
    lock: str = None
    argument: str = None
    expected: str = None
    soon: str = None


def thread(name):
    return f"{name}.1" if re.fullmatch("[A-Z]", name) else name


def process(name):
    return name.partition(".")[0]


class Vector:
    def __init__(self, path):
        self.path, self.name, self.steps = path, path.stem, []
        head = collections.defaultdict(str)
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise Bad(f"{path}: {error}; give a readable vector")
        for number, line in enumerate(lines, 1):
            text, comment = " ".join(line.split()), re.match(r"# (Spec|Claim|Needs): (.+)", line)
            if comment:
                head[comment[1]] = comment[2].strip()
            elif text and not text.startswith("#"):
                self.steps.append(self.step(number, text))
        self.claim, self.needs = head["Claim"], set(re.findall(r"[^\s,]+", head["Needs"]))
        for key in ("Spec", "Claim"):
            if not head[key] or key == "Spec" and not re.fullmatch(r"[a-z-]+(\.[a-z-]+)+(, *[a-z-]+(\.[a-z-]+)+)*", head[key]):
                raise Bad(f"{path}:1: the line '# {key}: {head[key]}' must give {HEAD[key]}")
        if not self.needs <= CAPABILITIES:
            raise Bad(f"{path}:1: '# Needs: {head['Needs']}' names an unknown capability; choose from {', '.join(sorted(CAPABILITIES))}")
        if not self.steps:
            raise Bad(f"{path}:1: there is no step; write one")
        Check(self)

    def step(self, number, text):
        for form in STEPS:
            match = form.fullmatch(text)
            if match:
                found = match.groupdict()
                found["verb"] = found["verb"].replace("continue", "resume")  # which can name a method
                return Step(number, text, **{**found, **{key: thread(found[key]) for key in ("who", "rival") if found.get(key)}})
        word = text.partition(" ")[2].partition(" ")[0]
        what = "has no result; add '-> RESULT'" if word in RESULTS and "->" not in text else "is no step; README.md lists them"
        raise Bad(f"{self.path}:{number}: '{text}' {what}")


class Check:
    """Follows a vector as a run would, and refuses steps that can have no meaning."""

    def __init__(self, vector):
        self.vector, self.threads, self.blocked, self.stopped, self.gone, self.renamed = vector, set(), {}, set(), set(), set()
        self.ids = set()  # the locks whose owner_id was seen
        for self.step in vector.steps:
            getattr(self, self.step.verb, self.command)(self.step)

    def expect(self, holds, problem, remedy):
        if not holds:
            raise Bad(f"{self.vector.path}:{self.step.line}: '{self.step.text}': {problem}; {remedy}")

    def need(self, capability):
        self.expect(capability in self.vector.needs, f"this needs the capability {capability}", "add it to '# Needs:'")

    def known(self, name):
        self.expect(name not in self.renamed, f"{name} is now called first or other", "use that name")
        self.expect(name in self.threads, f"{name} has not begun", "name a thread that has")

    def alive(self, name):
        self.expect(process(name) not in self.gone, f"{process(name)} is gone", "name another process")

    def ready(self, name):
        """Requires a thread that can do a request. Its process begins now if it has not begun yet."""
        self.alive(name)
        self.expect(name not in self.renamed, f"{name} is now called first or other", "use that name")
        self.expect(name not in self.blocked, f"{name} still blocks", f"put '{name} unblocks' before it")
        if name in ("first", "other"):
            return self.known(name)
        if process(name) in self.stopped:
            self.expect(self.step.expected == "blocks" and name in self.threads, "the process is stopped", "continue it, or let a thread that has begun block")
        if not name.endswith(".1"):
            self.need("threads")
        self.threads |= {name, process(name) + ".1"}

    def forget(self, name):
        """Forgets all threads of a process."""
        self.blocked = {one: verb for one, verb in self.blocked.items() if process(one) != process(name)}
        self.stopped.discard(process(name))

    def result(self, results):
        expected = self.step.expected
        if results is None:
            self.expect(expected.isdecimal(), f"{expected} is no number", "give a number")
        elif expected not in results:
            self.expect(not results - {"nobody"}, f"{expected} is none of its results", "give one of: " + ", ".join(sorted(results)))
            self.expect(re.fullmatch(THREAD, expected), f"{expected} is no thread", "name a thread")
            self.known(thread(expected))

    def command(self, step):
        if step.expected == "wakes":
            self.known(step.who)
        self.ready(step.who)
        named = step.lock and not step.lock.isdecimal()
        self.expect(named or step.verb not in ON_NAMES, "the name is missing", f"write {step.verb} @NAME")
        self.expect(named or int(step.lock or 0) < 64, "there is no such lock", "use @0 to @63")
        self.expect(step.argument is None or step.verb == "acquire", "only acquire takes a time", "remove it")
        self.expect(step.lock is None or step.verb not in ("end", "tid"), "this command takes no lock", "remove it")
        if named:
            self.need("names")
        if step.verb in ("depth", "owner", "flag"):
            self.need("query")
        if step.verb in ("lock", "try_lock"):
            self.need("poison")
        self.result(RESULTS[step.verb])
        if step.expected == "wakes":
            self.need("layout")
            self.expect(not named and step.who.endswith(".1"), "the runner cannot see this wake-up", "use a main thread and a lock with a number")
        if step.expected in ("blocks", "wakes"):
            self.blocked[step.who] = step.verb
        if step.verb == "end":
            self.expect(not step.who.endswith(".1"), "a main thread cannot end", "end another thread")
            self.threads.discard(step.who)

    def unblocks(self, step):
        for name in filter(None, (step.who, step.rival)):
            self.expect(name in self.blocked, f"{name} does not block", "put a step with '-> blocks' before it")
            self.result(RESULTS[self.blocked.pop(name)] - {"blocks"})
        if step.rival:
            self.renamed = (self.renamed | {step.who, step.rival}) - {"first", "other"}
            self.threads |= {"first", "other"}
            self.blocked["other"] = "acquire"

    def polls(self, step):
        self.ready(step.who)
        self.expect(int(step.lock or 0) < 64, "there is no such lock", "use @0 to @63")
        self.result(RESULTS["try"] - {"busy"})

    def still(self, step):
        self.expect(step.who in self.blocked, f"{step.who} does not block", "put a step with '-> blocks' before it")

    def kill(self, step):
        self.known(step.who)
        self.alive(step.who)
        self.forget(step.who)
        self.gone.add(process(step.who))

    def stop(self, step):
        self.known(step.who)
        self.alive(step.who)
        self.stopped.add(process(step.who))

    def exit(self, step):
        self.ready(step.who)
        self.forget(step.who)
        self.gone.add(process(step.who))

    def exec(self, step):
        self.need("exec")
        self.ready(step.who)
        self.forget(step.who)

    def fork(self, step):
        self.need("fork")
        self.ready(step.who)
        child = thread(step.argument)
        self.expect(child not in self.threads, f"{step.argument} has begun already", "give the child another letter")
        self.threads.add(child)

    def see(self, step):
        self.need("layout")
        if step.lock and not step.lock.isdecimal():
            fits = {"mode": re.fullmatch("[0-7]{3}", step.expected), "size": True}.get(step.argument, int(step.expected) < 256)
            self.expect(fits, "the number does not fit", "give a mode of three octal digits, or a byte")
            return self.need("names")
        self.expect(int(step.lock or 0) < 64, "there is no such lock", "use @0 to @63")
        if step.argument == "pending":
            return [self.known(thread(name)) for name in step.expected.split() if name != "nobody"]
        size, words = FIELDS[step.argument][1], step.expected.split()
        if step.verb == "set" and step.expected.isdecimal():
            self.expect(int(step.expected) < 1 << 8 * size, "the number does not fit", f"give one of {size} bytes")
        elif step.argument == "word":
            self.expect(step.expected == "free" or words[1:] in ([], ["OWNER_DIED"], ["WAITERS"], ["OWNER_DIED", "WAITERS"]), "this is no word of a lock",
                        "write free, or nobody or a thread, then OWNER_DIED, WAITERS or both")
            if words[0] not in ("free", "nobody"):
                (self.ready if step.verb == "set" and re.fullmatch("[A-Z]", words[0]) else self.known)(thread(words[0]))
        elif step.argument == "owner_id":
            known = ("zero", "other", "complement") if step.lock in self.ids else ("zero", "other")
            self.expect(step.verb == "see" and step.expected in known, f"{step.expected} means nothing here",
                        "see zero or other, or complement after another 'see owner_id'; set a number")
            self.ids.add(step.lock)
        else:
            self.expect(step.expected.isdecimal() or step.expected == "own", f"{step.expected} means nothing here", "give a number, or own")

    set = see

    def resume(self, step):
        self.known(step.who)
        self.alive(step.who)
        self.stopped.discard(process(step.who))
