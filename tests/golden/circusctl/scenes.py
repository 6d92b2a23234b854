"""The command lines: a page each, told one after the other to one circusd. {folder} is where its files are.

Behind ` # ` stands what is needed for a line: `until TEXT` presses Ctrl-C when TEXT stands there, `quiet` does
something first and shows nothing, `meanwhile events` lets them happen when somebody listens, `typed A; B` are lines of
standard input.
"""

from __future__ import annotations

from circus.cli.words import COMMANDS

#: Page -> command lines.
SCENES: dict[str, str] = {
    "circusctl": """
        --version
        nonsense
        statsu
        --nonsense status
        status --nonsense
        --timeout 0 status
        --color blue status
        --json nonsense
        --endpoint nobody status
        --endpoint https://127.0.0.1:1 status
        --token-file f status
        --ssh -x status
        --ssh_keyfile f status
        ipython
        notify
        notify --help
        config --help
        token --help
    """,
    "shell": """
        # typed status web; lst; stop 'web'; status web; exit; list
        --json # typed numwatchers; get web
        # typed
    """,
    "status": """
        status
        status -v
        status web
        status web -v
        status web 'w*' db
        status --match regex (w|d).*
        --table status web
        --table --color always status web
        status WEB
        status mailer
        status nobody
        --json status nobody
        --json --prettify status cache
    """,
    "list": """
        list
        list web
        list db
        list web db
        list nobody
    """,
    "start": """
        start
        start db
        start w* db
        start --match regex [wd].*
        start --no-wait web
        start nobody
        start --match regex (
        start --match nothing web
    """,
    "stop": """
        stop web
        stop --no-wait api
        stop
        stop nobody
    """,
    "restart": """
        restart web
        restart --match simple WEB
        restart nobody
    """,
    "reload": """
        reload web
        reload --terminate --sequential
        reload --no-wait web
        reload nobody
    """,
    "incr": """
        incr web
        incr web 3
        incr web api 2
        incr web --no-wait
        incr '日報 worker'
        incr nobody
        incr web many
    """,
    "decr": """
        decr web
        decr web 5
        decr
    """,
    "numprocesses": """
        numprocesses
        numprocesses web
        numprocesses web 4
        numprocesses web api
        numprocesses web api 3
        numprocesses web -1
        numprocesses nobody
    """,
    "numwatchers": "numwatchers",
    "signal": """
        signal web HUP
        signal web 5001 --children TERM
        signal web 1 USR1
        signal web 5001 5002 HUP
        signal web 5001 1 HUP
        signal web db 1 HUP
        signal web db HUP
        signal web NOPE
        signal web
    """,
    "stats": """
        stats
        stats web
        stats web 5001 --extended
        stats web api
        stats web 5001 5002
        stats web 1
    """,
    "dstats": "dstats",
    "globaloptions": """
        globaloptions
        globaloptions check_delay
        globaloptions nope
    """,
    "options": """
        options web
        options web --reveal
        options web db
        options nobody
    """,
    "get": """
        get web cmd numprocesses
        get web env
        get web nope
        get 'w*' cmd
        get web
    """,
    "why": """
        why web
        why api
        why API.2 -n 1
        why mailer -n 0
        why api -n 51
        why api.9
        why nobody
    """,
    "exits": """
        exits api
        exits api -n 1
        exits web
        exits api web
        exits api -n 0
    """,
    "listsockets": "listsockets",
    "run": """
        run backup
        run --wait backup
        run nobody
    """,
    "runs": """
        runs backup
        runs backup -n 1
        runs web
        runs backup web
    """,
    "operations": """
        operations
        stop web # quiet
        start --no-wait web # quiet
        operations
        operations 1795348800000-1
        operations 1795348800000-1 --follow
        operations 1795348800000-9
        operations --follow
    """,
    "logs": """
        logs web
        logs web --lines 1
        logs web --since 2026-11-22T11:59:15Z
        logs web --stream stderr
        logs web --grep slow
        logs web -f # until 404
        logs nobody
        logs web --grep (
        logs
    """,
    "audit": """
        audit
        audit --file {folder}/audit.jsonl
        audit --file {folder}/audit.jsonl -n 1
        audit --file {folder}/nothing
    """,
    "notify list": "notify list",
    "notify test": """
        notify test ops
        notify test mail
        notify test nobody
    """,
    "events": """
        events # until fatal # meanwhile events
        events watcher.web. # until spawn # meanwhile events
        --json events watcher.api. # until exit_code # meanwhile events
    """,
    "listen": """
        listen # until fatal # meanwhile events
        listen watcher.web. # until spawn # meanwhile events
        --json listen watcher.api. # until exit_code # meanwhile events
    """,
    "add": """
        add new sleep 60
        add --start other sleep 60
        add web sleep 60
        add new
        add third --option nope sleep 60
    """,
    "rm": """
        rm web
        rm api --nostop
        rm cache db
        rm nobody
    """,
    "kill": """
        kill web
        kill web 5001 --signum INT --graceful_timeout 3
        kill web 1
        kill web 5001 5002
        kill web api
    """,
    "set": """
        set web graceful_timeout 5
        set web graceful_timeout 5 stop_signal
        set web a 1 a 2
        set nobody a 1
    """,
    "forget": """
        forget db --dry-run
        forget db
        forget --all
        forget
    """,
    "reloadconfig": """
        reloadconfig --plan
        reloadconfig --apply 3f2a9c81d07e
        reloadconfig --apply other
        reloadconfig --quiet
    """,
    "quit": "quit",
    "upgrade": """
        upgrade --check
        upgrade
        upgrade --no-wait --to /srv/circus-1.1
        upgrade --to /srv/broken
        upgrade --patience long
    """,
    "shutdown": "shutdown",
    "drill": """
        drill --rounds 0
        drill --connections 65
        drill --http nothing
    """,
    "version": "version",
    "token create": """
        token create deploy --role operator --verb restart --watcher web* --expires 30d
        token create deploy --role operator
        token create x --role king
        token create x --role viewer --expires soon
    """,
    "token list": """
        token list
        token create deploy --role operator --verb restart --watcher web* --expires 30d # quiet
        token list
    """,
    "token revoke": """
        token create deploy --role operator # quiet
        token revoke deploy
        token revoke deploy
    """,
    "config check": """
        config check {folder}/circus.ini
        config check {folder}/wrong.ini
        config check {folder}/nothing.ini
    """,
    "config show": """
        config show web
        config show circus {folder}/circus.ini
        config show nobody
    """,
    "init": """
        init --to {folder}/first.ini --processes 2 --socket 127.0.0.1:8000 -- /bin/sleep '$(circus.sockets.sleep)'
        init --to {folder}/first.ini -- /bin/sleep 60
        init --to {folder}/first.ini --force '/bin/sleep 60 | cat'
        init --to {folder}/second.ini -- no-such-program
        init --socket here -- /bin/sleep
        init --to {folder}/first.toml -- /bin/sleep
        init
    """,
    "completion": """
        completion fish
        completion csh
        completion
    """,
}

#: Pages that would say what stands elsewhere, and is compared there.
ELSEWHERE = {"config schema": "docs/reference/circus.schema.json"}

#: The help of all commands is a page for itself.
HELP = "help"


def lines_of(page: str) -> list[str]:
    if page == HELP:
        return ["--help", *(f"{name} --help" for name in COMMANDS)]
    return [line.strip() for line in SCENES[page].splitlines() if line.strip()]
