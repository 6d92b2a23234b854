"""Starting real programs, in this very process: what they get, and what is as before afterwards."""

from __future__ import annotations

import ast
import errno
import fcntl
import os
import resource
import signal

import pytest

from papa.errors import PapaError
from papa.kernel import system
from papa.kernel.spawn import Launcher
from papa.model import ProcessSpec

PATH = "/usr/bin:/bin"
NOFILE = resource.getrlimit(resource.RLIMIT_NOFILE)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def launcher():
    system.keep_to_ourselves()
    before = sorted(os.listdir("/proc/self/fd"))
    launcher = Launcher(NOFILE)
    yield launcher
    launcher.close()
    assert sorted(os.listdir("/proc/self/fd")) == before, "descriptors were left open"


def spec(*argv, **more):
    more.setdefault("env", {"PATH": PATH})
    return ProcessSpec.parse({"name": "web", "argv": list(argv), **more})


def run(launcher, wanted, **descriptors):
    """Its output and status."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream:
        try:
            pid = launcher.start(wanted, list(wanted.argv), stdout=writer, **descriptors)
        finally:
            os.close(writer)
        out = stream.read().decode()
    return out, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def sh(launcher, script, **more):
    return run(launcher, spec("/bin/sh", "-c", script, **more))


def world():
    return os.getcwd(), _umask(), _limits()


def _umask():
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _limits():
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {name: resource.getrlimit(getattr(resource, name)) for name in names}


# Whatever needs a fork, with Python in the child or without, must give the same world as posix_spawn does.
WAYS = [{}, {"rlimits": {"cpu": [600, None]}}, {"uid": os.geteuid(), "gid": os.getegid()}]


@pytest.mark.parametrize("way", WAYS)
def test_a_program_gets_its_arguments_environment_and_status(launcher, way):
    out, status = run(
        launcher,
        spec(
            "/bin/sh", "-c", 'echo "$0|$1|$A|$(env | wc -l)"; exit 7', "a b", "", env={"A": "x\ny", "PATH": PATH}, **way
        ),
    )
    assert out == "a b||x\ny|4\n"  # A takes two lines, PATH, PWD
    assert status == 7


def test_a_child_that_is_to_be_named_says_who_it_is_before_it_becomes_its_program(launcher, tmp_path):
    mark = tmp_path / "1.started"
    pid = launcher.start(spec("sleep", "1000"), ["sleep", "1000"], mark=str(mark), is_named=True)
    try:
        assert mark.read_text() == f"{pid} {system.start_ticks(pid)}"
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.parametrize("way", WAYS)
def test_bytes_that_are_no_utf8_arrive_unharmed(launcher, way):
    out, _ = run(
        launcher,
        spec(
            "/bin/sh", "-c", 'printf %s "$1$A" | od -An -tx1', "sh", "\udcff", env={"A": "\udc80", "PATH": PATH}, **way
        ),
    )
    assert out.split() == ["ff", "80"]


@pytest.mark.parametrize("way", WAYS)
def test_a_program_has_a_session_of_its_own_and_no_terminal(launcher, way):
    out, _ = sh(launcher, "cut -d' ' -f1,5,6,7 /proc/$$/stat", **way)
    pid, group, session, terminal = out.split()
    assert pid == group == session
    assert terminal == "0"


@pytest.mark.parametrize("way", WAYS)
def test_all_signals_are_at_their_default_and_none_is_blocked(launcher, way):
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        out, _ = run(launcher, spec("grep", "Sig[BI]", "/proc/self/status", **way))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGUSR1, before)
    _, blocked, _, ignored = out.split()
    # 32 and 33 are the C library's own, which its posix_spawn leaves ignored.
    internal = 1 << 31 | 1 << 32
    assert (int(blocked, 16), int(ignored, 16) & ~internal) == (0, 0)


@pytest.mark.parametrize("way", WAYS)
def test_only_the_standard_descriptors_and_the_named_sockets_are_open(launcher, way):
    taken = os.pipe()
    name = os.readlink(f"/proc/self/fd/{taken[0]}")
    listing = (
        "import os\nfound = {}\nfor fd in range(300):\n"
        " try: found[fd] = os.readlink(f'/proc/self/fd/{fd}')\n except OSError: pass\nprint(found)"
    )
    wanted = spec("/usr/bin/python3", "-I", "-S", "-c", listing, **way)
    out, _ = run(launcher, wanted, sockets=[(taken[0], 203)])
    for fd in taken:
        os.close(fd)
    found = ast.literal_eval(out)
    assert found.pop(1).startswith("pipe:")
    assert found == {0: "/dev/null", 2: "/dev/null", 203: name}


@pytest.mark.parametrize("way", WAYS)
def test_a_descriptor_may_lie_where_another_goes_in_the_child(launcher, way):
    reader, writer = os.pipe()
    pipes = [os.pipe() for _ in range(2)]
    first, second = pipes[0][0], pipes[1][0]
    names = [os.readlink(f"/proc/self/fd/{fd}") for fd in (first, second)]
    argv = ["/bin/sh", "-c", f"readlink /proc/$$/fd/{second} /proc/$$/fd/{first}"]
    # Each goes where the other one is, and standard output goes over a third.
    pid = launcher.start(spec(*argv, **way), argv, stdout=writer, sockets=[(first, second), (second, first)])
    os.close(writer)
    with os.fdopen(reader) as stream:
        assert stream.read().split() == names
    os.waitpid(pid, 0)
    for fd in (*pipes[0], *pipes[1]):
        os.close(fd)


@pytest.mark.parametrize("way", WAYS)
def test_a_descriptor_that_is_at_its_number_already_stays_open(launcher, way):
    taken = os.pipe()
    argv = ["/bin/sh", "-c", f"readlink /proc/$$/fd/{taken[0]}"]
    reader, writer = os.pipe()
    pid = launcher.start(spec(*argv, **way), argv, stdout=writer, sockets=[(taken[0], taken[0])])
    os.close(writer)
    with os.fdopen(reader) as stream:
        assert stream.read().strip() == os.readlink(f"/proc/self/fd/{taken[0]}")
    os.waitpid(pid, 0)
    for fd in taken:
        os.close(fd)


@pytest.mark.parametrize("way", WAYS)
def test_directory_umask_and_limits_are_the_childs_alone(launcher, tmp_path, way):
    before = world()
    limits = {"nofile": [123, None], "core": [0, None], **way.get("rlimits", {})}
    out, _ = sh(launcher, "pwd; umask; ulimit -n; ulimit -c", cwd=str(tmp_path), umask=0o027, rlimits=limits)
    assert out.split() == [str(tmp_path), "0027", "123", "0"]
    assert world() == before


def test_without_a_word_a_program_runs_in_the_root_with_a_public_umask(launcher):
    mask = os.umask(0o077)
    try:
        out, _ = sh(launcher, "pwd; umask; ulimit -n")
    finally:
        os.umask(mask)
    assert out.split() == ["/", "0022", str(NOFILE[0])]


def test_a_program_gets_the_limits_that_the_kernel_was_started_with():
    soft, hard = NOFILE
    launcher = Launcher((200, hard))
    try:
        out, _ = sh(launcher, "ulimit -n; ulimit -Hn")
    finally:
        launcher.close()
    assert out.split() == ["200", str(hard) if hard >= 0 else "unlimited"]
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


def test_descriptors_above_the_childs_limit_are_handed_all_the_same(launcher):
    """A kernel that holds much was raised above the limit of an ordinary login, which its children get."""
    high = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, NOFILE[0] - 8)
    reader, writer = os.pipe()
    above = fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, NOFILE[0] - 8)
    try:
        wanted = spec("/bin/sh", "-c", "ulimit -n; echo five >&5", rlimits={"nofile": [64, None]})
        pid = launcher.start(wanted, list(wanted.argv), stdin=high, stdout=above, stderr=above, sockets=[(above, 5)])
        for fd in (writer, above):
            os.close(fd)
        assert os.read(reader, 100) + os.read(reader, 100) == b"64\nfive\n"
        assert os.waitpid(pid, 0)[1] == 0
    finally:
        os.close(high)
        os.close(reader)


def test_descriptors_above_the_childs_limit_are_no_reason_for_a_fork(launcher, monkeypatch):
    high = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, NOFILE[0] - 8)
    reader, writer = os.pipe()
    above = fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, NOFILE[0] - 8)
    os.close(writer)
    # Whatever else this process has open: there are low numbers to be had.
    limit = 64 + max(fd for fd in map(int, os.listdir("/proc/self/fd")) if fd < high)
    monkeypatch.delattr(os, "fork")
    try:
        for _ in range(3):
            wanted = spec("/bin/sh", "-c", "ls -l /proc/self/fd >&5", rlimits={"nofile": [limit, None]})
            pid = launcher.start(wanted, list(wanted.argv), stdin=high, stdout=above, sockets=[(above, 5)])
            assert os.waitpid(pid, 0)[1] == 0
            shown = [line.split() for line in os.read(reader, 9000).decode().splitlines()[1:]]
            pipe = os.readlink(f"/proc/self/fd/{above}")
            # 3 is the directory that `ls` reads.
            expected = {"0": os.readlink("/proc/self/fd/0"), "1": pipe, "2": "/dev/null", "5": pipe}
            assert {words[-3]: words[-1] for words in shown if words[-3] != "3"} == expected
    finally:
        for fd in (high, above, reader):
            os.close(fd)


def test_more_of_them_than_there_are_low_numbers_are_handed_by_a_fork(launcher):
    reader, writer = os.pipe()
    above = fcntl.fcntl(writer, fcntl.F_DUPFD_CLOEXEC, NOFILE[0] - 8)
    os.close(writer)
    try:
        wanted = spec("/bin/sh", "-c", "echo nineteen >/proc/self/fd/19", rlimits={"nofile": [64, None]})
        sockets = [(above, number) for number in range(5, 20)]
        pid = launcher.start(wanted, list(wanted.argv), stdout=above, sockets=sockets)
        assert os.waitpid(pid, 0)[1] == 0
        assert os.read(reader, 100) == b"nineteen\n"
    finally:
        os.close(above)
        os.close(reader)


@pytest.mark.parametrize("way", WAYS)
def test_no_limit_of_descriptors_is_as_many_as_may_be(launcher, way):
    limits = {"nofile": [-1, -1], **way.get("rlimits", {})}
    out, _ = sh(launcher, "ulimit -n; ulimit -Hn", **{**way, "rlimits": limits})
    assert out.split() == [str(NOFILE[1])] * 2


def test_a_hard_limit_is_lowered_in_the_child_only(launcher):
    out, _ = sh(launcher, "ulimit -n; ulimit -Hn", rlimits={"nofile": [100, 150]})
    assert out.split() == ["100", "150"]
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == NOFILE


@needs_root
def test_a_program_can_run_as_another_user_without_the_groups_of_root(launcher):
    out, _ = sh(launcher, "id -u; id -g; id -G", uid=65534, gid=65533)
    assert out.split() == ["65534", "65533", "65533"]
    out, _ = sh(launcher, "id -G | tr ' ' '\\n' | sort -n", uid=65534, gid=65533, groups=[7, 8])
    assert out.split() == ["7", "8", "65533"]


@needs_root
def test_another_user_without_a_group_is_refused(launcher):
    with pytest.raises(PapaError, match="would keep the group of root") as caught:
        sh(launcher, "id", uid=65534)
    assert caught.value.code == "bad-request"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("stage", "number", "words", "more"),
    [
        (
            "chdir",
            errno.ENOENT,
            r"^web: cannot start: working directory /no/such does not exist \(stage chdir\)$",
            {"cwd": "/no/such"},
        ),
        ("chdir", errno.ENOTDIR, "working directory /etc/passwd: Not a directory", {"cwd": "/etc/passwd"}),
        ("exec", errno.ENOENT, "program no-such is not on the PATH /usr/bin:/bin", {"argv": ["no-such"]}),
        ("exec", errno.ENOENT, "program /no/such does not exist", {"argv": ["/no/such"]}),
        ("exec", errno.EACCES, "program fstab: Permission denied", {"argv": ["fstab"], "env": {"PATH": "/etc:/bin"}}),
        (
            "exec",
            errno.E2BIG,
            "larger than the system takes",
            {"argv": ["/bin/true", *["x" * 100_000] * 20], "rlimits": {"stack": [512 * 1024, None]}},
        ),
    ],
)
def test_a_failure_names_its_stage_and_errno(launcher, way, stage, number, words, more):
    before = world()
    more = {"argv": ["/bin/true"], **way, **more}
    more["rlimits"] = {**way.get("rlimits", {}), **more.get("rlimits", {})}
    argv = more.pop("argv")
    with pytest.raises(PapaError, match=words) as caught:
        run(launcher, spec(*argv, **more))
    assert caught.value.code == "spawn-failed"
    assert caught.value.details == {"stage": stage, "errno": number}
    assert world() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize("way", WAYS)
def test_a_file_that_is_no_program_is_named_with_a_hint(launcher, tmp_path, way):
    script = tmp_path / "script"
    script.write_text("echo hello\n")
    script.chmod(0o755)
    with pytest.raises(PapaError, match="Exec format error") as caught:
        run(launcher, spec(str(script), **way))
    assert caught.value.details == {"stage": "exec", "errno": errno.ENOEXEC}
    assert "#!/bin/sh" in caught.value.hint


@needs_root
def test_a_user_that_may_not_become_another_is_told_so():
    """In a child that gave up root itself."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgid(65534)
            os.setuid(65534)
            launcher = Launcher(NOFILE)
            launcher.start(spec("/bin/true", uid=1, gid=1), ["/bin/true"])
        except PapaError as error:
            os._exit(42 if error.details["stage"] == "setgid" and "only root" in error.hint else 1)
        except BaseException:
            os._exit(2)
        os._exit(3)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 42


@pytest.mark.parametrize(
    "limits",
    [{"nofile": [64, 32]}, {"ofile": [1, None]} if not hasattr(resource, "RLIMIT_OFILE") else {"vmem": [1, None]}],
)
def test_a_limit_that_cannot_be_is_the_stage_rlimit(launcher, limits):
    with pytest.raises(PapaError) as caught:
        run(launcher, spec("/bin/true", rlimits=limits))
    assert caught.value.details == {"stage": "rlimit", "errno": errno.EINVAL}


def test_a_limit_on_descriptors_below_a_sockets_number_is_told_before_the_start(launcher):
    with pytest.raises(PapaError, match="below the number of a socket") as caught:
        launcher.start(spec("/bin/true", rlimits={"nofile": [100, None]}), ["/bin/true"], sockets=[(0, 200)])
    assert caught.value.details == {"stage": "descriptors", "errno": errno.EMFILE}


@pytest.mark.parametrize("way", WAYS)
def test_a_program_is_looked_for_along_the_childs_path(launcher, tmp_path, way):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a/tool").write_text("not executable")
    tool = tmp_path / "b/tool"
    tool.write_text("#!/bin/sh\necho found\n")
    tool.chmod(0o755)
    path = f"{tmp_path}/none:{tmp_path}/a:{tmp_path}/b"
    assert run(launcher, spec("tool", env={"PATH": path}, **way)) == ("found\n", 0)
    # An empty part is the working directory, and a slash stops the looking.
    assert run(launcher, spec("tool", env={"PATH": ":/none"}, cwd=str(tmp_path / "b"), **way))[0] == "found\n"
    assert run(launcher, spec("b/tool", env={}, cwd=str(tmp_path), **way))[0] == "found\n"
    assert run(launcher, spec("other name", executable="tool", env={"PATH": path}, **way))[0] == "found\n"


def test_without_a_path_the_systems_own_places_are_searched(launcher):
    assert run(launcher, spec("true", env={})) == ("", 0)
