"""Starts an entry script on several devices with msrun, and supervises its processes.

python scripts/launch.py --local_worker_num 2 train.py --distribute --train_path runs/two
python scripts/launch.py --local_worker_num 2 test.py --distribute --pretrained_model FILE

On several hosts, run the same command on each, with --worker_num, the number of devices of all
hosts, --master_addr and --node_rank; host 0 is the master.

msrun starts the processes and exits. Then this script prints the log of this host's first rank and
passes SIGTERM, Ctrl-C and SIGHUP on to all ranks; if a rank dies, it ends the others and says which
one died. A second signal, at least five seconds after the first, ends everything at once; so does a
first one before the ranks have started. If this script is killed, the system kills the ranks.
"""

import contextlib
import ctypes
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from src.config import cli  # noqa: E402
from src.errors import InputError  # noqa: E402
from src.runtime import signals  # noqa: E402

MSRUN_FLAGS = {
    "worker_num": "devices of all hosts (default: of this one)",
    "local_worker_num": "devices of this host (default: 1)",
    "master_addr": "address of host 0",
    "master_port": "a port that is free on host 0 (default, on a single host: found)",
    "node_rank": "number of this host",
    "log_dir": "folder for the ranks' logs (default: log)",
    "cluster_time_out": "seconds in which all hosts have to start",
    "bind_core": "whether each rank is bound to cores of its own, True or False",
}
NUMBERS = ("worker_num", "local_worker_num", "master_port", "node_rank", "cluster_time_out")
SCHEDULER = "the scheduler"
PR_SET_CHILD_SUBREAPER = 36
POLL_SECONDS = 0.1
# For so long all signals count as one: `timeout` and Slurm send them to a process and to its group.
SIGNAL_SECONDS = 5
# How long the other ranks may take to end by themselves when one has failed.
GRACE_SECONDS = 3
# How long a scheduler may take to notice that the ranks of other hosts have ended.
LAST_HOST_SECONDS = 30
# A host without heartbeats for this long counts as gone; MindSpore's own limit is 300 s.
NODE_TIMEOUT_SECONDS = "15"
FRAMEWORK_LINE = re.compile(r"\[(INFO|WARNING)\] \w+\(\d+,")


def parse(argv):
    """Splits the command line into a dict of msrun's flags and the script with its arguments."""
    parser = cli.Parser(__doc__)
    for name, text in MSRUN_FLAGS.items():
        kind = cli.whole_number(at_least=0) if name in NUMBERS else str
        parser.add_argument(f"--{name}", type=kind, help=text)
    found, rest = parser.parse_known_args(argv)
    if not rest or rest[0].startswith("-"):
        parser.error("the script to start is missing, such as train.py")
    flags = {
        name: str(v) for name, v in vars(found).items() if name in MSRUN_FLAGS and v is not None
    }
    local = flags.setdefault("local_worker_num", "1")
    if not 1 <= int(local) <= int(flags.setdefault("worker_num", local)):
        raise InputError(
            f"local_worker_num is {local}: it must be at least 1 and at most worker_num"
        )
    if local == flags["worker_num"]:
        flags.setdefault("master_port", free_port())
    elif "master_addr" not in flags or "node_rank" not in flags:
        raise InputError("several hosts need --master_addr and --node_rank")
    return flags, rest


def free_port():
    """A free port, so that two jobs on a host do not collide."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


class Job:
    """The processes that msrun starts on this host: the ranks and, on host 0, the scheduler."""

    def __init__(self, flags, command):
        self.several_hosts = flags["worker_num"] != flags["local_worker_num"]
        self.logs = Path(flags.get("log_dir", "log")) / time.strftime("%Y%m%d-%H%M%S")
        self.flags = {**flags, "log_dir": str(self.logs)}
        self.command = command
        # The start of the line in which a script reports its end; it is printed once, at the end.
        self.own_prefix = f"{Path(command[0]).name}: "
        self.names = {}
        self.ended = {}
        self.msrun = self.signal = None
        self.ends_at_once = math.inf
        self.shown = 0

    def start(self):
        """Lets msrun start the processes; raises `InputError` with the last line of its log if it
        fails.
        """
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.logs}: cannot be written (log_dir): {error.strerror}"
            ) from None
        signals.on_stop(self.pass_on)
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        binaries = str(Path(sys.executable).parent)
        # msrun calls "python", which must be the interpreter that runs this script.
        environment = {
            "MS_NODE_TIMEOUT": NODE_TIMEOUT_SECONDS,
            **os.environ,
            "CONVLSTM_LAUNCHER": str(os.getpid()),
            "PATH": binaries + os.pathsep + os.environ.get("PATH", ""),
        }
        flags = [word for name, value in self.flags.items() for word in (f"--{name}", value)]
        own_log = self.logs / f"msrun_{self.flags.get('node_rank', 0)}.log"
        with own_log.open("w") as log:
            self.msrun = subprocess.Popen(
                [f"{binaries}/msrun", *flags, *self.command],
                env=environment, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
            code = self.msrun.wait()
        self.names = names_of_processes()
        if self.signal:
            self.end()
            print(f"launch.py: ended by {self.signal.name} before the ranks ran", file=sys.stderr)
            sys.exit(128 + self.signal)
        if code:
            self.end()
            raise InputError(f"msrun failed: {last_line(own_log)}")

    def pass_on(self, number, frame):
        """Handles a signal: the first asks all ranks to save and stop, a later one kills them."""
        if self.signal is None:
            self.signal = signal.Signals(number)
            self.ends_at_once = time.monotonic() + SIGNAL_SECONDS
            self.send(signal.SIGTERM)
            if self.msrun and not self.names:
                self.msrun.kill()
        elif time.monotonic() > self.ends_at_once:
            self.send(signal.SIGKILL)

    def send(self, number):
        """Sends a signal to the running ranks; SIGKILL also to their children and the scheduler."""
        for pid, name in self.names.items():
            with contextlib.suppress(OSError):
                if number == signal.SIGKILL and name != SCHEDULER:
                    os.killpg(pid, number)
                elif pid not in self.ended and (number == signal.SIGKILL or name != SCHEDULER):
                    os.kill(pid, number)

    def end(self):
        """Kills all processes and waits until they have ended."""
        while children := psutil.Process().children(recursive=True):
            for process in children:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            self.reap(0)

    def reap(self, options=os.WNOHANG):
        """Records one process that has ended; returns whether there was one."""
        try:
            pid, status = os.waitpid(-1, options)
        except ChildProcessError:
            return False
        if pid in self.names:
            self.ended[pid] = os.waitstatus_to_exitcode(status)
        return pid > 0

    def running(self, ranks_only=True):
        """The names of the processes that still run."""
        names = {name for pid, name in self.names.items() if pid not in self.ended}
        return names - {SCHEDULER} if ranks_only else names

    def failed(self):
        """The ids of the processes that failed, in the order of their ends, the scheduler last."""
        bad = [pid for pid, code in self.ended.items() if code]
        return sorted(bad, key=lambda pid: self.names[pid] == SCHEDULER)

    def watch(self):
        """Waits for the end of the job; returns its exit code."""
        while self.running() and not self.failed():
            self.wait()
        timeout = GRACE_SECONDS if self.failed() else LAST_HOST_SECONDS * self.several_hosts
        end = time.monotonic() + timeout
        while self.running(ranks_only=not self.several_hosts) and time.monotonic() < end:
            self.wait()
        failed = self.failed()
        self.end()
        self.show()
        return self.report(failed) if failed else 0

    def wait(self):
        """Waits a moment, prints new lines of the log, and records the processes that ended."""
        self.show()
        time.sleep(POLL_SECONDS)
        while self.reap():
            pass

    def log_of(self, name):
        """The log file of a process."""
        stem = "scheduler" if name == SCHEDULER else name.replace("rank ", "worker_")
        return self.logs / f"{stem}.log"

    def show(self):
        """Prints new lines of this host's first rank, without the framework's own lines."""
        ranks = [name for name in self.names.values() if name != SCHEDULER]
        if not ranks:
            return
        with self.log_of(min(ranks, key=lambda name: int(name.split()[1]))).open("rb") as log:
            log.seek(self.shown)
            text = log.read()
        text = text[: text.rfind(b"\n") + 1] if self.running() else text
        self.shown += len(text)
        for line in text.decode(errors="replace").splitlines():
            if not FRAMEWORK_LINE.match(line) and not line.startswith(self.own_prefix):
                print(line, flush=True)

    def report(self, failed):
        """Prints on stderr which process ended the job; returns the job's exit code."""
        codes = {self.names[pid]: self.ended[pid] for pid in failed}
        name, code = next(iter(codes.items()))
        if code > 0 and codes.get("rank 0") == code:
            name = "rank 0"
        pid = next(pid for pid in failed if self.names[pid] == name)
        lines = self.log_of(name).read_text(errors="replace").splitlines()
        reports = [line for line in lines if line.startswith(self.own_prefix)]
        if code > 0 and reports:
            message = f"{reports[-1]} ({name}; logs: {self.logs})"
        else:
            how = f"ended with exit code {code}"
            if code < 0:
                how = f"was killed by {signal.Signals(-code).name}"
            others = f"the other ranks were ended; logs: {self.logs}"
            message = f"launch.py: {name} (process {pid}) {how}; {others}"
        print(message, file=sys.stderr)
        return code if code > 0 else 128 - code


def names_of_processes():
    """The process ids of what msrun has left to this process, with their names."""
    names = {}
    for process in psutil.Process().children():
        with contextlib.suppress(psutil.Error, KeyError):
            known = process.environ()
            first = known["MS_ROLE"] == "MS_SCHED"
            names[process.pid] = SCHEDULER if first else f"rank {known['RANK_ID']}"
    return names


def last_line(log):
    """The last line of a log."""
    return (log.read_text(errors="replace").splitlines() or ["it printed nothing"])[-1]


def main(argv):
    """Starts the job, waits for its end, and ends with its exit code."""
    flags, (script, *arguments) = parse(argv)
    path = script if Path(script).is_file() else str(ROOT / script)
    job = Job(flags, [path, *arguments])
    job.start()
    sys.exit(job.watch())


if __name__ == "__main__":
    cli.run(main, lambda: sys.argv[1:])
